"""Both listeners: who may ask, what is read, and how it is answered.

A request passes: access (key, role, rate), limits (size, time, JSON), idempotency, and then the
seller's handlers. Whatever is refused becomes a problem (RFC 9457).
"""
