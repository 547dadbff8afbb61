"""What a seller's callback_url is sent, and how he proves who sent it, in three languages."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import orjson

SECRET: Final = "CALLBACK_SECRET"  # noqa: S105 - the variable that a seller puts his secret into
HEADERS: Final = ("webhook-id", "webhook-timestamp", "webhook-signature")
PAUSES: Final = "5 s, 30 s, 2 min and 10 min, then hourly"
_LEAD: Final = "lead_019a8b2c3d4e7f60819293a4b5c6d7e8"
_PING: Final = "ping_019a8b2c3d4e7f60819293a4b5c6d7e9"
_SALE: Final = "sale_019a8b2c3d4e7f60819293a4b5c6d7ea"


@dataclass(frozen=True, slots=True)
class Proof:
    """A function `verified(headers, body)`: headers by lower-case name, the body as it came."""

    slug: str
    name: str
    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackGuide:
    """What is to be known of callbacks. Times in the unit of their names."""

    timeout_s: float
    hours: int  # after the lead's end
    headers: Mapping[str, str]
    example: Mapping[str, object]
    proofs: tuple[Proof, ...]

    @property
    def body(self) -> str:
        """The example as one reads it; what is sent has no blanks."""
        return orjson.dumps(self.example, option=orjson.OPT_INDENT_2).decode()


def callback_guide(vertical: str, currency: str, *, timeout_s: float, hours: int) -> CallbackGuide:
    return CallbackGuide(
        timeout_s=timeout_s, hours=hours, example=_example(vertical, currency), proofs=PROOFS,
        headers={
            "webhook-id": f"{_LEAD}.final",
            "webhook-timestamp": "1790000000",
            "webhook-signature": "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=",
        },
    )  # fmt: skip


def _example(vertical: str, currency: str) -> dict[str, object]:
    sale = {"sale_id": _SALE, "price": "9.75", "buyer_ref": "k3jv2nq5x7r4tqzm"}
    return {
        "type": "lead", "test": False, "lead_id": _LEAD, "ping_id": _PING, "outcome": "sold", "price": "9.75",
        "currency": currency, "redirect_url": None, "sales": [sale], "elapsed_ms": 48210, "vertical": vertical,
        "external_id": "your-4711", "created_at": "2026-11-21T17:04:05.123Z",
    }  # fmt: skip


_PYTHON: Final = '''
import base64, hmac, os, time

def verified(headers, body):
    """Whether the exchange sent this, within five minutes. `body`: the bytes as they came."""
    key = base64.b64decode(os.environ["CALLBACK_SECRET"].removeprefix("whsec_"))
    stamp = headers["webhook-timestamp"]
    signed = f"{headers['webhook-id']}.{stamp}.".encode() + body
    right = b"v1," + base64.b64encode(hmac.digest(key, signed, "sha256"))
    fresh = abs(time.time() - int(stamp)) < 300
    given = headers["webhook-signature"].encode().split(b" ")
    return fresh and any(hmac.compare_digest(right, one) for one in given)
'''
_PHP: Final = """
function verified(array $headers, string $body): bool {
    // Whether the exchange sent this, within five minutes. $body: file_get_contents('php://input')
    $key = base64_decode(substr(getenv('CALLBACK_SECRET'), strlen('whsec_')));
    $stamp = $headers['webhook-timestamp'];
    $signed = $headers['webhook-id'] . '.' . $stamp . '.' . $body;
    $right = 'v1,' . base64_encode(hash_hmac('sha256', $signed, $key, true));
    $found = false;
    foreach (explode(' ', $headers['webhook-signature']) as $one) {
        $found = hash_equals($right, $one) || $found;
    }
    return $found && abs(time() - (int) $stamp) < 300;
}
"""
_JAVASCRIPT: Final = """
import { createHmac, timingSafeEqual } from "node:crypto";

export function verified(headers, body) {
  // Whether the exchange sent this, within five minutes. body: the Buffer as it came
  const key = Buffer.from(process.env.CALLBACK_SECRET.replace("whsec_", ""), "base64");
  const stamp = headers["webhook-timestamp"];
  const signed = Buffer.concat([Buffer.from(`${headers["webhook-id"]}.${stamp}.`), body]);
  const right = Buffer.from(`v1,${createHmac("sha256", key).update(signed).digest("base64")}`);
  const given = headers["webhook-signature"].split(" ").map((one) => Buffer.from(one));
  const found = given.some((one) => one.length === right.length && timingSafeEqual(one, right));
  return found && Math.abs(Date.now() / 1000 - Number(stamp)) < 300;
}
"""
PROOFS: Final = tuple(
    Proof(slug, name, code.strip("\n"))
    for slug, name, code in (
        ("python", "Python", _PYTHON),
        ("php", "PHP", _PHP),
        ("javascript", "JavaScript", _JAVASCRIPT),
    )
)
