"""Persons sealed and opened, blind indexes, opaque names. Nothing else may see a master key.

Each lead has its own AES-256-GCM key, wrapped under the master key: destroying the wrapped key
erases the person and leaves the money record. Blind indexes are keyed, since a plain hash of a
phone number is undone in seconds by trying all of them.
"""

import base64
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE_BYTES = 12
_KEY_BYTES = 32
_VERSION = b"\x01"  # which master key; rotation re-wraps the lead keys only


class SealBroken(Exception):
    """A sealed value that this master key cannot open, or that somebody changed."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A person at rest. `key` None: erased."""

    key: bytes | None  # the lead's key, wrapped
    body: bytes


class Vault:
    """Everything that is done with the master key. `random_bytes(n)` must be cryptographic."""

    def __init__(self, master_key: bytes, random_bytes: Callable[[int], bytes]) -> None:
        if len(master_key) != _KEY_BYTES:
            raise ValueError("the master key must be 32 bytes")
        self._master = master_key
        self._random = random_bytes
        # The same few pairs of parties are named in every ping.
        self._name = lru_cache(maxsize=100_000)(self._new_name)
        self._derive = lru_cache(maxsize=100)(self._new_derived)  # one for each purpose
        self._digest = lru_cache(maxsize=10_000)(self._new_digest)  # every request has a key
        self._wrap = AESGCM(self._derive("wrap"))

    def seal(self, lead_id: str, person: Mapping[str, Any]) -> Sealed:
        """Encrypt a person under a key of its own, bound to the lead."""
        key = self._random(_KEY_BYTES)
        return Sealed(
            _VERSION + self._encrypt(self._wrap, key, f"key:{lead_id}"),
            self._encrypt(AESGCM(key), orjson.dumps(person), f"person:{lead_id}"),
        )

    def open(self, lead_id: str, sealed: Sealed) -> dict[str, Any]:
        """The person again. Raises SealBroken when erased, changed, or sealed under another key."""
        if sealed.key is None or sealed.key[:1] != _VERSION:
            raise SealBroken("the person was erased, or sealed under another master key")
        key = self._decrypt(self._wrap, sealed.key[1:], f"key:{lead_id}")
        person = orjson.loads(self._decrypt(AESGCM(key), sealed.body, f"person:{lead_id}"))
        assert isinstance(person, dict)
        return person

    def seal_text(self, purpose: str, text: str) -> bytes:
        """A short secret, such as a contract's signing key, under the master key itself."""
        return _VERSION + self._encrypt(self._wrap, text.encode(), purpose)

    def open_text(self, purpose: str, sealed: bytes) -> str:
        """The secret again. Raises SealBroken when changed or sealed under another key."""
        if sealed[:1] != _VERSION:
            raise SealBroken("sealed under another master key")
        return self._decrypt(self._wrap, sealed[1:], purpose).decode()

    def blind(self, purpose: str, value: str) -> bytes:
        """A keyed index of a normalised phone or e-mail: equal values meet, nothing is revealed."""
        return hmac.digest(self._derive(f"blind:{purpose}"), value.encode(), "sha256")

    def key_digest(self, key: str) -> bytes:
        """What is stored of an API key: 256 random bits need no slow hash."""
        return self._digest(key)

    def _new_digest(self, key: str) -> bytes:
        return hmac.digest(self._derive("api-key"), key.encode(), "sha256")

    def opaque(self, *names: str) -> str:
        """A short stable name for a pair of parties that tells neither who the other is."""
        return self._name(*names)

    def _new_name(self, *names: str) -> str:
        digest = hmac.digest(self._derive("opaque"), "|".join(names).encode(), "sha256")
        return base64.b32encode(digest[:10]).decode().lower()

    def derived_text(self, purpose: str) -> str:
        """A secret that is the same at every start with this master key (demo keys)."""
        return base64.urlsafe_b64encode(self._derive(purpose)).decode().rstrip("=")

    def _new_derived(self, purpose: str) -> bytes:
        return hmac.digest(self._master, f"exchange:{purpose}".encode(), "sha256")

    def _encrypt(self, cipher: AESGCM, plain: bytes, bound_to: str) -> bytes:
        nonce = self._random(_NONCE_BYTES)
        return nonce + cipher.encrypt(nonce, plain, bound_to.encode())

    def _decrypt(self, cipher: AESGCM, sealed: bytes, bound_to: str) -> bytes:
        try:
            return cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], bound_to.encode())
        except (InvalidTag, ValueError):  # ValueError: too short to hold a nonce
            raise SealBroken("sealed under another master key, or changed") from None
