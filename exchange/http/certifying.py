"""Certifies endpoints for a process: on request, and before a buyer's own contract goes live.

While an endpoint is talked to nothing is locked and no connection to the database is held: a buyer
may take two minutes. Tests are traffic that buyers did not pay for, so they are few: of one contract,
of one buyer, and at once.
"""

import math
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
from buyers.wire import Transport
from exchange.documents import MASK, buyer_value, contract_value
from exchange.errors import Problem, Refusal, StoreUnavailable
from exchange.http.problems import unavailable
from exchange.http.requests import invalid
from exchange.ids import new_uuid, write_id
from exchange.made_up import PEOPLE, made_up_lead
from exchange.sealing import Vault
from exchange.store.catalogue import ContractScope, Documents, read_documents
from exchange.store.certificates import (
    Certified,
    LastTry,
    Minute,
    count_certification,
    last_try,
    put_certificate,
)
from exchange.store.database import Database
from exchange.store.documents import Change, Decide, Wanted, write_documents
from exchange.verticals import Vertical, read_vertical

Body = dict[str, Any]
AT_ONCE_MAX: Final = 8  # certifications of one process
OF_ONE_BUYER_MAX: Final = 2  # of those; whose endpoints hang keeps nobody else waiting
POST_TIMEOUT_MAX_MS: Final = 15_000  # of a test post, however long the contract waits for a sale's
PAUSE_S: Final = 10  # between two tests of one contract
A_MINUTE_MAX: Final = 20  # certifications of one buyer's contracts: about 300 messages
_RETRY_S: Final = 5


@dataclass(frozen=True, slots=True)
class Subject:
    """A contract as it is, or would be, traded under."""

    contract: Contract
    vertical: Vertical


@dataclass(kw_only=True)
class Certifier:
    """Certifies for one process: each contract once at a time, few at a time of one buyer and in all.
    How many a minute one buyer may have is counted for all processes together."""

    db: Database
    vault: Vault
    guard: Guard
    transport: Transport
    wall_s: Callable[[], float] = time.time
    random_bytes: Callable[[int], bytes] = secrets.token_bytes
    _running: dict[str, str] = field(default_factory=dict)  # contract to its buyer

    async def test(self, subject: Subject) -> Certified | None:
        """Certify on request and keep the report; None: there is no such contract any more. Refuses
        with 429, too, when it was certified just now."""
        slug = subject.contract.slug
        _refuse_hasty(await last_try(self.db, slug))
        report = await self.certify(subject)
        return await put_certificate(self.db, slug, endpoint_digest(subject.contract), report)

    async def certify(self, subject: Subject) -> Report:
        """Sends test messages; stores no report. Refuses with 429, and with 503 when we stop."""
        test_lead = made_up_lead(subject.vertical, self.random_bytes(1)[0] % PEOPLE)
        async with self._turn(subject.contract):
            _refuse_many(await count_certification(self.db, subject.contract.buyer.id))
            try:
                return await certify(
                    _impatient(subject.contract),
                    test_lead,
                    transport=self.transport,
                    guard=self.guard,
                    wall_s=self.wall_s,
                    new_id=self._new_id,
                )
            except Interrupted:
                raise unavailable() from None

    @asynccontextmanager
    async def _turn(self, contract: Contract) -> AsyncIterator[None]:
        slug, buyer = contract.slug, contract.buyer.slug
        if slug in self._running:
            text = "this contract's endpoint is being certified just now"
            raise Refusal(429, "rate_limited", text, retry_after_s=_RETRY_S)
        if sum(one == buyer for one in self._running.values()) >= OF_ONE_BUYER_MAX:
            text = f"{OF_ONE_BUYER_MAX} endpoints of this buyer are being certified just now"
            raise Refusal(429, "rate_limited", text, retry_after_s=_RETRY_S)
        if len(self._running) >= AT_ONCE_MAX:
            text = "too many endpoints are being certified just now"
            raise Refusal(429, "overloaded", text, retry_after_s=_RETRY_S)
        self._running[slug] = buyer
        try:
            yield
        finally:
            del self._running[slug]

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
                await self._refuse_repeated(going.contract.slug, certified)
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
                # Who sent If-Match was answered 412 by `decide`.
                text = "it was changed while its endpoint was being certified: send it again"
                raise Refusal(409, "changed_meanwhile", text)
            made_here = _gets_a_secret(wanted, now)
            return _with_secret(wanted, fresh) if made_here else wanted

        (change,) = await write_documents(self.db, self.vault, judged, by=by, scope=scope)
        if report is not None:
            with suppress(StoreUnavailable):  # written is written; it can be certified again
                await put_certificate(self.db, change.slug, certified, report)
        return replace(change, secret=fresh) if made_here else change

    async def _refuse_repeated(self, slug: str, endpoint: bytes) -> None:
        """429 for the very endpoint that failed a moment ago; a changed one is tried at once."""
        last = await last_try(self.db, slug)
        if last is not None and not last.passed and last.endpoint == endpoint:
            _refuse_hasty(last)

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


def _refuse_hasty(last: LastTry | None) -> None:
    left_s = 0.0 if last is None else PAUSE_S - last.ago_s
    if left_s > 0:
        text = f"this contract's endpoint was certified less than {PAUSE_S} seconds ago"
        raise Refusal(429, "rate_limited", text, retry_after_s=math.ceil(left_s))


def _refuse_many(minute: Minute) -> None:
    if minute.count > A_MINUTE_MAX:
        text = f"endpoints of this buyer were certified {A_MINUTE_MAX} times within a minute"
        raise Refusal(429, "rate_limited", text, retry_after_s=minute.left_s)


def _impatient(contract: Contract) -> Contract:
    """As it is certified: nobody is kept waiting for a place as long as a sale would be waited for."""
    ms = min(contract.endpoint.post_timeout_ms, POST_TIMEOUT_MAX_MS)
    return replace(contract, endpoint=replace(contract.endpoint, post_timeout_ms=ms))


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
