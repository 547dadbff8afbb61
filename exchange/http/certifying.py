"""Certifies endpoints for a process: on request, and before a buyer's own contract goes live.

While an endpoint is talked to nothing is locked and no connection to the database is held: a buyer
may take two minutes.
"""

import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final

from buyers.certify import Interrupted, Report, certify, endpoint_digest
from buyers.contract import Contract
from buyers.guard import Guard
from buyers.signing import new_secret
from exchange.documents import MASK, buyer_value, contract_value
from exchange.errors import Problem, Refusal, StoreUnavailable
from exchange.house import Transport
from exchange.http.problems import unavailable
from exchange.http.requests import invalid
from exchange.ids import new_uuid, write_id
from exchange.made_up import PEOPLE, made_up_lead
from exchange.sealing import Vault
from exchange.store.catalogue import ContractScope, Documents, read_documents
from exchange.store.certificates import put_certificate
from exchange.store.database import Database
from exchange.store.documents import Change, Decide, Wanted, write_documents
from exchange.verticals import Vertical, read_vertical

Body = dict[str, Any]
AT_ONCE_MAX: Final = 8  # certifications of one process
_RETRY_S: Final = 5


@dataclass(frozen=True, slots=True)
class Subject:
    """A contract as it is, or would be, traded under."""

    contract: Contract
    vertical: Vertical


@dataclass(kw_only=True)
class Certifier:
    """Certifies for one process: each contract once at a time, few at a time in all."""

    db: Database
    vault: Vault
    guard: Guard
    transport: Transport
    wall_s: Callable[[], float] = time.time
    random_bytes: Callable[[int], bytes] = secrets.token_bytes
    _running: set[str] = field(default_factory=set)

    async def certify(self, subject: Subject) -> Report:
        """Sends test messages; stores nothing. Refuses with 429, and with 503 when we stop."""
        test_lead = made_up_lead(subject.vertical, self.random_bytes(1)[0] % PEOPLE)
        async with self._turn(subject.contract.slug):
            try:
                return await certify(
                    subject.contract,
                    test_lead,
                    transport=self.transport,
                    guard=self.guard,
                    wall_s=self.wall_s,
                    new_id=self._new_id,
                )
            except Interrupted:
                raise unavailable() from None

    @asynccontextmanager
    async def _turn(self, slug: str) -> AsyncIterator[None]:
        if slug in self._running:
            text = "this contract's endpoint is being certified just now"
            raise Refusal(429, "rate_limited", text, retry_after_s=_RETRY_S)
        if len(self._running) >= AT_ONCE_MAX:
            text = "too many endpoints are being certified just now"
            raise Refusal(429, "overloaded", text, retry_after_s=_RETRY_S)
        self._running.add(slug)
        try:
            yield
        finally:
            self._running.discard(slug)

    def _new_id(self, kind: str) -> str:
        uuid = new_uuid(int(self.wall_s() * 1000), self.random_bytes)
        return write_id(kind, uuid, test=True)

    # --- before a document is written ----------------------------------------------------------

    async def write(self, decide: Decide, scope: ContractScope, *, by: str) -> Change:
        """Write what a buyer's key asks of one contract. If that makes it live, or live elsewhere,
        its endpoint is certified first: what fails is refused with 422, and nothing is written."""
        fresh = new_secret(self.random_bytes(32))
        stored = await read_documents(self.db, scope)
        going = self._going_live(decide(stored), stored, fresh)
        certified, report = b"", None
        if going is not None:
            certified = endpoint_digest(going.contract)
            if not _is_certified(going, stored, certified):
                report = await self.certify(going)
                _refuse_failed(report)

        made_here = False

        def judged(now: Documents) -> Wanted:
            nonlocal made_here
            wanted = decide(now)
            again = self._going_live(wanted, now, fresh)
            if again is None:
                return wanted
            if endpoint_digest(again.contract) != certified:
                text = "it was changed while its endpoint was being certified: send it again"
                raise Refusal(409, "etag_mismatch", text)
            made_here = _gets_a_secret(wanted, now)
            return _with_secret(wanted, fresh) if made_here else wanted

        (change,) = await write_documents(self.db, self.vault, judged, by=by, scope=scope)
        if report is not None:
            with suppress(StoreUnavailable):  # written is written; it can be certified again
                await put_certificate(self.db, change.slug, certified, report)
        return replace(change, secret=fresh) if made_here else change

    def _going_live(self, wanted: Wanted, stored: Documents, fresh: str) -> Subject | None:
        """The contract, if writing this would send leads where none went before."""
        _, body = wanted[0]
        before = stored["contract"].get(body["slug"])
        if not body["active"]:
            return None
        after = self.subject(body, stored, fresh)
        if before is None or before.deleted or not before.body["active"]:
            return after
        was = self.subject(before.body, stored, fresh)
        same = endpoint_digest(was.contract) == endpoint_digest(after.contract)
        return None if same else after

    def subject(self, body: Body, stored: Documents, fresh: str = "") -> Subject:
        """A canonical document with the secret it has, is given, or would get."""
        slug = body["slug"]
        secret = body["endpoint"].get("secret")
        if secret in {None, MASK}:
            before = stored["contract"].get(slug)
            sealed = before.secret if before else None
            secret = fresh if sealed is None else self.vault.open_text(f"contract:{slug}", sealed)
        buyer = stored["buyer"][body["buyer"]]
        vertical = read_vertical(stored["vertical"][body["vertical"]].body)
        told = body | {"filters": []}  # a test lead is for every endpoint
        contract = contract_value(
            0, told, buyer_value(buyer.id, buyer.body, active=True), vertical, secret, active=True
        )
        return Subject(contract, vertical)


def _is_certified(subject: Subject, stored: Documents, digest: bytes) -> bool:
    before = stored["contract"].get(subject.contract.slug)
    found = before.certificate if before else None
    return found is not None and found.passed and found.endpoint == digest


def _refuse_failed(report: Report) -> None:
    """422 with every failed check and its remedy."""
    if report.passed:
        return
    failed = "; ".join(f"{check.name}: {check.text}" for check in report.failed)
    text = f"the endpoint failed its certification, and nothing was changed. {failed}"
    raise invalid([Problem("active", "not_certified", text)])


def _gets_a_secret(wanted: Wanted, stored: Documents) -> bool:
    """Whether the contract is to have its first secret, and names none."""
    body = wanted[0][1]
    before = stored["contract"].get(body["slug"])
    has_none = before is None or before.secret is None
    return has_none and body["endpoint"].get("secret") in {None, MASK}


def _with_secret(wanted: Wanted, fresh: str) -> Wanted:
    """With the secret that was certified."""
    kind, body = wanted[0]
    return [(kind, body | {"endpoint": body["endpoint"] | {"secret": fresh}})]
