"""Passwords as salted scrypt hashes: about 32 MiB and a tenth of a second for each guess."""

import base64
import hashlib
import hmac
import secrets
from typing import Final

LENGTH_MIN: Final = 10
LENGTH_MAX: Final = 200
_N: Final = 2**15
_R: Final = 8
_P: Final = 1
_MEMORY: Final = 128 * 2**20


def hash_password(password: str) -> str:
    """As it is stored: `scrypt$N$r$p$salt$hash`. Takes its time: call it in a thread."""
    salt = secrets.token_bytes(16)
    digest = _scrypt(password, salt, _N, _R, _P)
    return "$".join(["scrypt", str(_N), str(_R), str(_P), _text(salt), _text(digest)])


def is_password(password: str, stored: str | None) -> bool:
    """Whether it is that one. Takes as long when there is none, so that nobody learns which logins
    exist; False for what is not a hash of ours."""
    parts = (stored or _NOBODYS).split("$")
    if len(parts) != 6 or parts[0] != "scrypt":
        return False
    n, r, p = (int(one) for one in parts[1:4])
    salt, digest = (base64.b64decode(one) for one in parts[4:])
    same = hmac.compare_digest(_scrypt(password, salt, n, r, p), digest)
    return same and stored is not None


def password_problem(password: str, login: str) -> str | None:
    """What is wrong with a new one; None: nothing. Length is what counts."""
    if len(password) < LENGTH_MIN:
        return f"must have at least {LENGTH_MIN} characters"
    if len(password) > LENGTH_MAX:
        return f"may have at most {LENGTH_MAX} characters"
    if len(set(password)) < 4 or login.lower() in password.lower():
        return "is too easy to guess: take some words that do not belong together"
    return None


def _scrypt(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    raw = password[: LENGTH_MAX * 2].encode("utf-8", "surrogatepass")
    return hashlib.scrypt(raw, salt=salt, n=n, r=r, p=p, maxmem=_MEMORY, dklen=32)


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


_NOBODYS: Final = f"scrypt${_N}${_R}${_P}${_text(bytes(16))}${_text(bytes(32))}"
