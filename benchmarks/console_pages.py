"""Which pages of the console there are to look at, for each role: first pages, last ones, filters that match
nothing."""

from dataclasses import dataclass
from typing import Any, Final

from exchange.ids import write_id

_FACTS: Final = """SELECT (SELECT count(*) FROM lead) AS leads, (SELECT count(*) FROM ping) AS pings, (SELECT count(*) FROM transfer) AS transfers,
  (SELECT count(*) FROM contract) AS contracts"""
_SOLD: Final = """SELECT l.id, l.ping_id, s.slug AS seller, y.slug AS buyer, a.contract, l.vertical FROM lead l JOIN attempt a ON a.lead_id = l.id
  AND a.state = 'accepted' JOIN document s ON s.id = l.seller JOIN buyer y ON y.id = a.buyer_id
WHERE l.state = 'sold' AND NOT l.test ORDER BY l.id DESC LIMIT 1"""
_BUSY: Final = """SELECT a.id, a.kind, d.slug FROM ledger_sum s JOIN account a ON a.id = s.account LEFT JOIN document d ON d.id = a.owner
WHERE s.span = 'total' GROUP BY 1, 2, 3 ORDER BY sum(s.moves) DESC"""
_OLD: Final = "SELECT id FROM lead ORDER BY id OFFSET 30 LIMIT 1"


@dataclass(frozen=True, slots=True)
class Page:
    role: str
    name: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the pages are asked about: the newest sale and its parties, the busiest accounts."""

    leads: int
    pings: int
    transfers: int
    contracts: int
    lead: str
    ping: str
    old: str  # where the last page of leads begins
    seller: str
    buyer: str
    contract: str
    vertical: str
    accounts: dict[str, int]  # the busiest of each kind; of `buyer` and `seller` theirs


async def read_facts(connection: Any) -> Facts:
    counts = dict(await connection.fetchrow(_FACTS))
    sold = await connection.fetchrow(_SOLD)
    old = await connection.fetchval(_OLD)
    accounts: dict[str, int] = {}
    for id_, kind, slug in await connection.fetch(_BUSY):
        accounts.setdefault(kind, id_)
        if (kind, slug) in {("available", sold["buyer"]), ("payable", sold["seller"])}:
            accounts.setdefault(slug, id_)
    return Facts(
        **counts, lead=write_id("lead", sold["id"]), ping=write_id("ping", sold["ping_id"]), old=old.hex,
        seller=sold["seller"], buyer=sold["buyer"], contract=sold["contract"], vertical=sold["vertical"], accounts=accounts,
    )  # fmt: skip


def pages(role: str, facts: Facts) -> list[Page]:
    """In the order of the sidebar."""
    of = {"admin": _staff, "buyer": _buyer, "seller": _seller}[role]
    return [Page(role, name, f"/console/{path}") for name, path in of(facts)]


def _leads(facts: Facts) -> list[tuple[str, str]]:
    return [
        ("live", ""),
        ("leads", "leads"),
        ("leads, last page", f"leads?after={facts.old}"),
        ("leads of one vertical", f"leads?vertical={facts.vertical}"),
        ("leads, sold, one day", "leads?outcome=sold&span=24h"),
        ("leads, nothing fits", "leads?external_id=nobody-has-this"),
        ("leads, a reason and a time that do not meet", "leads?reason=duplicate_lead&until=2026-01-01T00:00"),
        ("one lead", f"leads/{facts.lead}"),
        ("one ping", f"pings/{facts.ping}"),
    ]  # fmt: skip


def _money(accounts: list[tuple[str, int]]) -> list[tuple[str, str]]:
    found = [("money", "money"), ("money, last month", "money?range=last_month")]
    for kind, id_ in accounts:
        place = f"money/accounts/{id_}"
        end = "after=2000-01-02T00%3A00%3A00%2B00%3A00+" + "f" * 32 + "+sale"
        found += [
            (f"transfers, {kind}", place), (f"transfers, {kind}, past the last", f"{place}?{end}"),
            (f"transfers, {kind}, returns", f"{place}?kind=return"), (f"transfers, {kind}, last month", f"{place}?range=last_month"),
        ]  # fmt: skip
    return found


def _reports(groups: tuple[str, ...]) -> list[tuple[str, str]]:
    found = [("reports", "reports")]
    found += [(f"reports by {by}, 30 days", f"reports?by={by}&range=30d") for by in groups]
    found += [
        ("reports by hour, 7 days", "reports?by=hour&range=7d"),
        ("reports, days of New York, 30 days", "reports?by=day&range=30d&zone=America/New_York"),
        ("reports, nothing fits", "reports?vertical=nothing"),
        ("reports as CSV", f"reports.csv?by={groups[0]}&range=30d"),
    ]
    return found


def _staff(facts: Facts) -> list[tuple[str, str]]:
    kinds = [
        (kind, id_)
        for kind, id_ in facts.accounts.items()
        if kind in {"available", "held", "payable", "margin", "external"}
    ]
    buyer, contract, seller, vertical = facts.buyer, facts.contract, facts.seller, facts.vertical
    return [
        *_leads(facts),
        ("leads of a buyer and a seller", f"leads?buyer={buyer}&seller={seller}"),
        ("leads of a buyer, rejected", f"leads?buyer={buyer}&post=rejected"),
        ("buyers", "buyers"), ("buyers, nothing fits", "buyers?search=zzzz"), ("one buyer", f"buyers/{buyer}"),
        ("one buyer's sales", f"buyers/{buyer}/sales"), ("one buyer, edit", f"buyers/{buyer}/edit"),
        ("contracts", "contracts"), ("contracts, nothing fits", "contracts?search=zzzz"), ("contracts, last page", "contracts?after=summit-so"),
        ("one contract", f"contracts/{contract}"), ("one contract, edit", f"contracts/{contract}/edit"),
        ("one contract, versions", f"contracts/{contract}/versions"), ("new contract", "contracts/new"),
        ("sellers", "sellers"), ("one seller", f"sellers/{seller}"), ("plans", "plans"), ("one plan", f"plans/{vertical}"),
        ("verticals", "verticals"), ("one vertical", f"verticals/{vertical}"), ("posting", "posting"),
        ("posting instructions", f"sellers/{seller}/posting/{vertical}"),
        *_money(kinds),
        ("money, nothing fits", "money?owner=zzzz"), ("statements, buyers", "money/statements"),
        ("statements, buyers, last month", "money/statements?range=last_month"), ("statements, sellers", "money/statements?side=seller"),
        ("one statement", f"money/statements/buyers/{buyer}?range=last_month&zone=Asia/Kolkata"),
        ("open holds", "money/open"), ("open holds that wait", "money/open?waits=person"), ("returns", "money/returns"),
        ("returns to decide", "money/returns?status=pending"), ("returns, nothing fits", "money/returns?buyer=nobody"),
        *_reports(("seller", "buyer", "contract", "vertical", "day")),
        ("reports by contract, one seller", f"reports?by=contract&range=30d&seller={seller}"),
        ("reports by seller, one buyer", f"reports?by=seller&range=30d&buyer={buyer}"),
        ("settings", "settings"), ("keys", "keys"), ("users", "users"), ("audit", "audit"), ("access", "audit/access"), ("account", "account"),
    ]  # fmt: skip


def _buyer(facts: Facts) -> list[tuple[str, str]]:
    return [
        *_leads(facts), ("its page", f"buyers/{facts.buyer}"), ("its sales", f"buyers/{facts.buyer}/sales"), ("its contracts", "contracts"),
        ("one contract", f"contracts/{facts.contract}"), *_money([("its own", facts.accounts[facts.buyer])]),
        ("open holds", "money/open"), ("returns", "money/returns"), *_reports(("contract", "vertical", "day")), ("account", "account"),
    ]  # fmt: skip


def _seller(facts: Facts) -> list[tuple[str, str]]:
    return [
        *_leads(facts), ("posting", "posting"), ("posting instructions", f"posting/{facts.vertical}"),
        *_money([("its own", facts.accounts[facts.seller])]), *_reports(("vertical", "buyer", "day")), ("account", "account"),
    ]  # fmt: skip
