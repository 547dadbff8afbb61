"""Standard Webhooks signatures (standardwebhooks.com): `{id}.{timestamp}.{body}` under HMAC-SHA256."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from functools import lru_cache

_PREFIX = "whsec_"
TOLERANCE_S = 300  # how far a signed timestamp may lie from the receiver's clock


class SignatureInvalid(ValueError):
    """A request whose signature does not prove its sender."""


def new_secret(random_bytes: bytes) -> str:
    """A secret as it is shown and stored: `whsec_` and base64 of 24 to 64 random bytes."""
    return _PREFIX + base64.b64encode(random_bytes).decode()


def read_secret(secret: str) -> bytes:
    """The key's bytes. Raises ValueError if it is not `whsec_` + base64 of 16 to 64 bytes."""
    if not secret.startswith(_PREFIX):
        raise ValueError("must start with whsec_")
    try:
        key = base64.b64decode(secret[len(_PREFIX) :], validate=True)
    except binascii.Error:
        raise ValueError("must be base64 after whsec_") from None
    if not 16 <= len(key) <= 64:
        raise ValueError("must hold 16 to 64 bytes")
    return key


def sign(key: bytes, webhook_id: str, timestamp_s: int, body: bytes) -> str:
    """The value of the webhook-signature header."""
    return _signer(key).sign(webhook_id.encode(), b"%d" % timestamp_s, body).decode()


class Signer:
    """Signs with one key, in bytes throughout: once for every buyer of every auction. To be kept:
    making one costs more than three signatures.

    The two hashes of HMAC (RFC 2104) have read the key, which is half of the work, and are copied.
    """

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes) -> None:
        block = (key if len(key) <= 64 else hashlib.sha256(key).digest()).ljust(64, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))

    def sign(self, webhook_id: bytes, timestamp: bytes, body: bytes, more: bytes = b"") -> bytes:
        """As the function `sign`; the timestamp in decimal digits, the body in one piece or two."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(b"".join((webhook_id, b".", timestamp, b".", body)))
        if more:
            inner.update(more)
        outer.update(inner.digest())
        return b"v1," + binascii.b2a_base64(outer.digest(), newline=False)


@lru_cache(maxsize=10_000)
def _signer(key: bytes) -> Signer:
    return Signer(key)


def verify(key: bytes, headers: Mapping[str, str], body: bytes, now_s: float) -> str:
    """Return the webhook-id when one of the signatures is right and fresh; else SignatureInvalid.

    `headers` are looked up in lower case.
    """
    webhook_id = headers.get("webhook-id", "")
    stamp = headers.get("webhook-timestamp", "")
    if not webhook_id or not stamp.isdecimal() or len(stamp) > 12:
        raise SignatureInvalid("webhook-id or webhook-timestamp is missing")
    if not (webhook_id + stamp).isascii():  # a server may hand us bytes as lone surrogates
        raise SignatureInvalid("webhook-id or webhook-timestamp is not ASCII")
    if abs(now_s - int(stamp)) > TOLERANCE_S:
        raise SignatureInvalid("webhook-timestamp is too far from this clock")
    right = sign(key, webhook_id, int(stamp), body).encode()
    given = headers.get("webhook-signature", "").encode("utf-8", "replace").split(b" ")
    if not any(hmac.compare_digest(right, one) for one in given):
        raise SignatureInvalid("webhook-signature does not match")
    return webhook_id
