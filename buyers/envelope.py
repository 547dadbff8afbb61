"""One signed HTTP request to one endpoint, ready to be written."""

from functools import lru_cache

from buyers.guard import Target
from buyers.signing import signature
from buyers.wire import render_head


def write_request(target: Target, key: bytes, webhook_id: str, now_s: int, body: bytes) -> bytes:
    """A POST with Standard Webhooks headers. A re-send keeps id and body and has a new timestamp.

    Raises ValueError for an id that is not visible ASCII: it could become another header.
    """
    if not (webhook_id.isascii() and webhook_id.isprintable()):
        raise ValueError("a webhook-id is visible ASCII")
    name = webhook_id.encode()
    signed = signature(key, name, now_s, body)
    # Written out in one piece: this is done for every buyer of every auction.
    return (
        b"%bwebhook-id: %b\r\nwebhook-timestamp: %d\r\nwebhook-signature: %b\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (_head(target), name, now_s, signed, len(body), body)
    )


@lru_cache(maxsize=50_000)
def _head(target: Target) -> bytes:
    """What is the same in every request to an endpoint is rendered once."""
    return render_head(target)
