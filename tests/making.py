"""Buyers, contracts and markets for tests of the pure rooms: say what matters, the rest is usual."""

from typing import Any

from buyers.contract import Buyer, Contract, Endpoint, Pricing, PricingMode

SECRET = "whsec_" + "YWNtZS1jYWxpZm9ybmlhLWF1dG8h"  # base64 of acme-california-auto!


def a_buyer(slug: str = "acme", **more: Any) -> Buyer:
    usual = {"id": 1, "name": slug.title(), "currency": "USD", "timezone": "UTC", "active": True}
    return Buyer(slug=slug, **(usual | more))


def an_endpoint(**more: Any) -> Endpoint:
    usual = {
        "dialect": "standard_v1",
        "ping_url": "https://acme.example/ping",
        "post_url": "https://acme.example/post",
        "status_url": None,
        "ping_timeout_ms": 400,
        "post_timeout_ms": 5000,
        "idempotent": False,
        "accepts_test": False,
    }
    return Endpoint(**(usual | more))


def a_contract(slug: str = "acme-ca-auto", **more: Any) -> Contract:
    usual = {
        "id": 1,
        "buyer": a_buyer(),
        "vertical": "auto_insurance",
        "active": True,
        "tier": "auction",
        "priority": 10,
        "weight": 100,
        "percent_ppm": None,
        "adjustment_ppm": 1_000_000,
        "endpoint": an_endpoint(),
        "secret": b"acme-california-auto!",
        "pricing": Pricing(mode=PricingMode.BID),
    }
    return Contract(slug=slug, **(usual | more))


def fixed(price_micros: int) -> Pricing:
    return Pricing(mode=PricingMode.FIXED, price_micros=price_micros)
