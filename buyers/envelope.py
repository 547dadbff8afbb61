"""One signed HTTP request to one endpoint, ready to be written."""

from buyers.guard import Target
from buyers.signing import sign
from buyers.wire import render_request


def write_request(target: Target, key: bytes, webhook_id: str, now_s: int, body: bytes) -> bytes:
    """A POST with Standard Webhooks headers. A re-send keeps id and body and has a new timestamp."""
    headers = (
        ("webhook-id", webhook_id),
        ("webhook-timestamp", str(now_s)),
        ("webhook-signature", sign(key, webhook_id, now_s, body)),
    )
    return render_request(target, headers, body)
