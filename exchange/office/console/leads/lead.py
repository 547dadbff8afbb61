"""One lead, and one ping: what became of it and why, as far as whoever looks may know."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import orjson
from aiohttp import web

from buyers.contract import Contract
from buyers.dialects import standard_v1
from buyers.messages import Post
from exchange.errors import Refusal
from exchange.ids import write_id
from exchange.office.console.demand.standing import actor
from exchange.office.console.frame import EVERYONE, Console, action, page
from exchange.office.console.leads.persons import masked_person
from exchange.office.console.leads.waterfall import (
    auction_bars,
    contract_page,
    post_bars,
    waterfall,
)
from exchange.office.console.parts.widgets import DASH
from exchange.office.console.viewer import Viewer
from exchange.recalling import Kept, contract_then, recall
from exchange.sealing import SealBroken
from exchange.store.rows import AttemptState, LeadRow
from exchange.store.views.leads import kinds_of, look_up
from exchange.story import (
    Delivery,
    Fate,
    Story,
    for_buyer,
    for_seller,
    heard_of,
    in_words,
    summary_of,
)
from exchange.why import find_story

LISTED_MAX: Final = 1000  # contracts that were skipped: the rest is told by `exchange why`
_LEFT: Final = frozenset(
    {AttemptState.ACCEPTED, AttemptState.REJECTED, AttemptState.UNCONFIRMED}
)  # the person left for this buyer


@dataclass(frozen=True, slots=True)
class Person:
    """The post-stage part of a lead as it is shown."""

    fields: Mapping[str, Any]
    whole: Mapping[str, Any] = field(default_factory=dict)  # with what the ping said, in its order
    erased: bool = False
    revealed: bool = False
    may_reveal: bool = False


@dataclass(frozen=True, slots=True)
class LeadPages:
    """The handlers of one lead and of one ping."""

    console: Console
    kept: Kept = field(default_factory=Kept)

    async def lead(self, request: web.Request, viewer: Viewer) -> web.StreamResponse:
        return await self._show(request, viewer, request.match_info["id"])

    async def ping(self, request: web.Request, viewer: Viewer) -> web.StreamResponse:
        return await self._show(request, viewer, request.match_info["id"])

    async def reveal(self, request: web.Request, viewer: Viewer) -> web.StreamResponse:
        """The person in plain words, on this one answer; written down before anything is opened."""
        text = request.match_info["id"]
        story, lead = await self._story(text, viewer)
        if lead is None or not _may_reveal(story, viewer):
            raise Refusal(404, "not_found")
        await self.console.note(viewer.name, "revealed", text)
        return await self._show(request, viewer, text, revealed=True)

    async def _story(self, text: str, viewer: Viewer) -> tuple[Story, LeadRow | None]:
        """Cut to what the viewer may see. What is another's looks as if it were not there."""
        db = self.console.db
        found = await find_story(
            self.console.store,
            text,
            partial(recall, db, kept=self.kept),
            partial(look_up, db),
        )
        story = found and self._cut(found[0], viewer)
        if not found or story is None or (text.startswith("lead_") and story.lead_id is None):
            raise Refusal(404, "not_found", "there is no such lead or ping")
        return story, found[1] if story.lead_id else None

    def _cut(self, story: Story, viewer: Viewer) -> Story | None:
        if viewer.seller is not None:
            return for_seller(story) if story.seller == viewer.seller else None
        if viewer.buyer is not None:
            known_as = self.console.vault.opaque("seller", viewer.buyer, story.seller or "")
            return for_buyer(story, viewer.buyer, known_as)
        return story

    async def _show(
        self, request: web.Request, viewer: Viewer, text: str, *, revealed: bool = False
    ) -> web.Response:
        story, lead = await self._story(text, viewer)
        person = await self._person(story, lead, viewer, revealed=revealed)
        now = datetime.now(UTC)
        kept_out = [one for one in story.contenders if one.fate is Fate.SKIPPED]
        return self.console.render(
            request,
            "leads/one.html",
            story=story,
            about="ping" if text.startswith("ping_") else "lead",
            summary=summary_of(story),
            auction=waterfall(
                auction_bars(story), "The auction", story.window_ms, linked=viewer.seller is None
            ),
            posts=waterfall(post_bars(story, now), "The posts", linked=viewer.seller is None),
            ranked=[one for one in story.contenders if one.fate is not Fate.SKIPPED],
            kept_out=kept_out[:LISTED_MAX],
            kept_out_count=len(kept_out),
            by_reason=_by_reason([one.reason or "" for one in kept_out]),
            exchanges=await self._exchanges(story, person),
            person=person,
            contract_page=contract_page,
            reason_words=in_words,
            heard_of=heard_of,
            actor=actor,
            plain=plain,
            dash=DASH,
        )

    async def _person(
        self, story: Story, lead: LeadRow | None, viewer: Viewer, *, revealed: bool
    ) -> Person | None:
        """None: there is none, or this viewer never had it."""
        if lead is None or not _had_person(story, viewer):
            return None
        may = _may_reveal(story, viewer)
        if lead.person.key is None:
            return Person({}, erased=True)
        try:
            opened = self.console.vault.open(str(lead.id), lead.person)
        except SealBroken:
            return Person({}, erased=True)
        kinds = await kinds_of(self.console.db, story.vertical)
        hidden = {name: value for name, value in opened.items() if name not in story.fields}
        shown = hidden if revealed and may else masked_person(hidden, kinds)
        whole = {name: shown.get(name, value) for name, value in opened.items()}
        return Person(shown, whole, revealed=revealed and may, may_reveal=may)

    async def _exchanges(self, story: Story, person: Person | None) -> list[dict[str, Any]]:
        """What was sent to each buyer, made again as it was, and what was answered."""
        return [
            {"post": one, "sent": await self._sent(one, story, person), "said": _told(one)}
            for one in story.deliveries
            if one.contract is not None
        ]

    async def _sent(self, one: Delivery, story: Story, person: Person | None) -> str | None:
        """The body of a post, written by the contract's dialect; None when it cannot be made again."""
        if person is None or person.erased or one.contract is None or one.price_micros is None:
            return None
        contract = await contract_then(
            self.console.db, story.vertical, one.contract, one.version, one.began_at
        )
        if contract is None or contract.endpoint.dialect != "standard_v1":
            return None
        return _pretty(_body(one, story, person, contract))


def _body(one: Delivery, story: Story, person: Person, contract: Contract) -> bytes:
    assert one.price_micros is not None
    post = Post(
        attempt_id=write_id("att", one.id, test=story.test),
        lead_id=story.lead_id or "",
        ping_id=story.ping_id,
        bid_id=one.bid_id,
        price_micros=one.price_micros,
        currency=story.currency,
        exclusive=one.slot == 0,
        shares=one.shares,
        test=story.test,
        fields=dict(person.whole),
    )
    return standard_v1.write_post(post, contract)


def _pretty(body: bytes) -> str:
    return orjson.dumps(orjson.loads(body), option=orjson.OPT_INDENT_2).decode()


def _told(one: Delivery) -> list[tuple[str, Any]]:
    """What was heard of a post, by name; its reason is told in words elsewhere."""
    names = {
        "status": "HTTP status", "buyer_ref": "Buyer's reference", "note": "Buyer's words",
        "redirect_url": "Redirect", "elapsed_ms": "Answered after",
    }  # fmt: skip
    return [(words, one.said[name]) for name, words in names.items() if name in one.said]


def plain(value: Any) -> str:
    """A field's value as one reads it: lists by commas, yes and no, objects by their members."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {plain(one)}" for name, one in value.items())
    if isinstance(value, list):
        return "; ".join(map(plain, value)) or "none"
    return str(value)


def _by_reason(reasons: list[str]) -> list[tuple[str, int]]:
    """How many for each reason, the most first."""
    counts = {one: reasons.count(one) for one in set(reasons)}
    return sorted(counts.items(), key=lambda one: (-one[1], one[0]))


def _had_person(story: Story, viewer: Viewer) -> bool:
    """A buyer had it if it was posted to; its seller sent it."""
    return viewer.buyer is None or any(one.state in _LEFT for one in story.deliveries)


def _may_reveal(story: Story, viewer: Viewer) -> bool:
    return viewer.may_reveal and (viewer.buyer is None or bool(story.sold))


def routes(console: Console) -> list[web.RouteDef]:
    pages = LeadPages(console)
    return [
        page("/console/leads/{id:lead_[a-z0-9_]+}", pages.lead, *EVERYONE),
        page("/console/pings/{id:ping_[a-z0-9_]+}", pages.ping, *EVERYONE),
        action("/console/leads/{id:lead_[a-z0-9_]+}/reveal", pages.reveal, "admin", "buyer"),
    ]
