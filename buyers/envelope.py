"""Signed HTTP requests to one endpoint, ready to be written."""

from functools import lru_cache

from buyers.contract import Contract
from buyers.dialects import standard_v1
from buyers.guard import Target
from buyers.signing import Signer
from buyers.wire import render_head


class Envelope:
    """POSTs to one endpoint with Standard Webhooks headers: what is the same in all of them is made
    once. Raises ValueError for a target that cannot be sent."""

    __slots__ = ("_head", "_signer")

    def __init__(self, target: Target, key: bytes) -> None:
        self._head = render_head(target) + b"webhook-id: "
        self._signer = Signer(key)

    def write(self, webhook_id: bytes, timestamp: bytes, body: bytes, more: bytes = b"") -> bytes:
        """A whole request, its body in one piece or two. A re-send keeps id and body and has a new
        timestamp, in decimal digits.

        `webhook_id` is visible ASCII: whoever passes it on has seen to that, or it could become
        another header.
        """
        # In one piece, and not by formats, which are slower: for every buyer of every auction.
        return b"".join(
            (
                self._head,
                webhook_id,
                b"\r\nwebhook-timestamp: ",
                timestamp,
                b"\r\nwebhook-signature: ",
                self._signer.sign(webhook_id, timestamp, body, more),
                b"\r\nContent-Length: ",
                b"%d" % (len(body) + len(more)),
                b"\r\n\r\n",
                body,
                more,
            )
        )


class Letter:
    """The pings of one seller, by his opaque name, to one contract: what they have in common."""

    __slots__ = ("_envelope", "_start", "_suffix", "contract", "target", "timeout_ms")

    def __init__(self, contract: Contract, target: Target, seller: str) -> None:
        self.contract, self.target = contract, target
        self.timeout_ms = contract.endpoint.ping_timeout_ms
        self._envelope = Envelope(target, contract.secret)
        self._start = standard_v1.ping_start(contract, seller)
        self._suffix = f".{contract.slug}".encode()

    def ping(self, ping_id: bytes, timestamp: bytes, rest: bytes) -> bytes:
        """A whole request. `rest` is what `standard_v1.ping_rest` says to others as well."""
        return self._envelope.write(ping_id + self._suffix, timestamp, self._start, rest)


def write_request(target: Target, key: bytes, webhook_id: str, now_s: int, body: bytes) -> bytes:
    """As `Envelope.write`, for who writes now and then.

    Raises ValueError for an id that is not visible ASCII: it could become another header.
    """
    if not (webhook_id.isascii() and webhook_id.isprintable()):
        raise ValueError("a webhook-id is visible ASCII")
    return _envelope(target, key).write(webhook_id.encode(), b"%d" % now_s, body)


@lru_cache(maxsize=10_000)
def _envelope(target: Target, key: bytes) -> Envelope:
    return Envelope(target, key)
