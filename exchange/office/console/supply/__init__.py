"""Sellers, verticals, plans, and the instructions for posting."""
