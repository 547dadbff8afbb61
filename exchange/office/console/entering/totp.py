"""One-time codes by time, RFC 6238 over RFC 4226: SHA-1, six digits, 30 seconds. Pure."""

import base64
import hmac
from typing import Final
from urllib.parse import quote

STEP_S: Final = 30
DIGITS: Final = 6
SECRET_BYTES: Final = 20
_SLACK: Final = 1  # steps that a device's clock may be off, either way


def code_at(secret: bytes, step: int, *, digits: int = DIGITS) -> str:
    """The code of one step of 30 s since 1970."""
    digest = hmac.digest(secret, step.to_bytes(8, "big"), "sha1")
    at = digest[-1] & 15
    number = int.from_bytes(digest[at : at + 4], "big") & 0x7FFF_FFFF
    return f"{number % 10**digits:0{digits}d}"


def step_of(secret: bytes, code: str, now_s: float) -> int | None:
    """The step whose code this is, a step early or late allowed; None: it is none of them. Every
    one is compared, in the same time. Whoever asks sees to it that no step is used twice."""
    plain = "".join(code.split())
    if not (plain.isascii() and plain.isdecimal()):
        return None
    present = int(now_s // STEP_S)
    found = None
    for step in range(present - _SLACK, present + _SLACK + 1):
        if step >= 0 and hmac.compare_digest(code_at(secret, step), plain):
            found = step
    return found


def text_of(secret: bytes) -> str:
    """The secret for typing it in: base32 in groups of four."""
    plain = base64.b32encode(secret).decode().rstrip("=")
    return " ".join(plain[at : at + 4] for at in range(0, len(plain), 4))


def address_of(secret: bytes, login: str, issuer: str = "Exchange") -> str:
    """What the QR code says: the key URI that authenticators read."""
    plain = base64.b32encode(secret).decode().rstrip("=")
    return f"otpauth://totp/{quote(issuer)}:{quote(login)}?secret={plain}&issuer={quote(issuer)}"
