"""One signed HTTP request to one endpoint, ready to be written."""

from functools import lru_cache

from buyers.guard import Target
from buyers.signing import sign
from buyers.wire import finish_request, render_head


def write_request(target: Target, key: bytes, webhook_id: str, now_s: int, body: bytes) -> bytes:
    """A POST with Standard Webhooks headers. A re-send keeps id and body and has a new timestamp."""
    headers = (
        ("webhook-id", webhook_id),
        ("webhook-timestamp", str(now_s)),
        ("webhook-signature", sign(key, webhook_id, now_s, body)),
    )
    return finish_request(_head(target), body, headers)


@lru_cache(maxsize=50_000)
def _head(target: Target) -> bytes:
    """What is the same in every request to an endpoint is rendered once."""
    return render_head(target)
