"""The native protocol against golden files: `exemplary` is how to speak it, `supplemental` how not."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from buyers import strict_json
from buyers.contract import Contract, Pricing, PricingMode
from buyers.dialects.standard_v1 import (
    NOTE_MAX,
    read_answer,
    read_bid,
    read_status,
    write_ping,
    write_post,
)
from buyers.messages import Accepted, Bid, Invalid, Missed, NoBid, Ping, Post, Rejected, Unconfirmed
from buyers.money import format_micros, parse_micros
from tests.making import a_buyer, a_contract

GOLDEN = Path(__file__).parent / "dialects" / "standard_v1"
FILES = sorted(GOLDEN.glob("*/*.json"))
PING_ID = "ping_0198c0ffee"
TOOK_MS = 37.5


def golden(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(path.read_bytes())
    return found


def contract_of(case: dict[str, Any]) -> Contract:
    said = case["contract"]
    return a_contract(
        said["slug"],
        buyer=a_buyer(currency=said["currency"]),
        is_shared=said.get("shared", False),
        pricing=Pricing(
            mode=PricingMode.BID,
            min_micros=parse_micros(said["min"]),
            max_micros=None if said["max"] is None else parse_micros(said["max"]),
        ),
    )


def as_told(result: object) -> dict[str, Any]:
    """A result in the words of the golden files."""
    told: dict[str, Any] = {"type": type(result).__name__}
    match result:
        case Bid():
            told |= {"price": result.price_micros, "bid_id": result.bid_id}
            told |= {"expires_in_s": result.expires_in_s}
        case NoBid():
            told |= {"note": result.note}
        case Invalid():
            told |= {"reason": result.reason}
        case Missed() | Unconfirmed():
            told |= {"reason": result.reason, "status": result.status}
        case Accepted():
            told |= {"buyer_ref": result.buyer_ref, "redirect_url": result.redirect_url}
            told |= {"price_said": result.price_said_micros}
        case Rejected():
            told |= {"reason": result.reason, "note": result.note}
    return told


def as_expected(told: dict[str, Any]) -> dict[str, Any]:
    """Prices of a golden file as micros."""
    prices = {name: told[name] for name in ("price", "price_said") if told.get(name) is not None}
    return told | {name: parse_micros(price) for name, price in prices.items()}


def answered(case: dict[str, Any]) -> object:
    status, body = case["status"], case["body"].encode()
    if case["call"] == "read_bid":
        return read_bid(status, body, TOOK_MS, ping_id=PING_ID, contract=contract_of(case))
    return read_answer(
        status, body, TOOK_MS, price_micros=parse_micros(case["price"]), resent=case["resent"]
    )


def written(case: dict[str, Any]) -> bytes:
    if case["call"] == "write_ping":
        ping = Ping(**case["ping"])
        return write_ping(contract_of(case), case["seller"], case["deadline_ms"], ping)
    said = dict(case["post"])
    post = Post(price_micros=parse_micros(said.pop("price")), **said)
    return write_post(post, contract_of(case))


def files_of(*calls: str) -> list[Any]:
    return [
        pytest.param(path, id=f"{path.parent.name}/{path.stem}")
        for path in FILES
        if golden(path)["call"] in calls
    ]


@pytest.mark.parametrize("path", files_of("read_bid", "read_answer"))
def test_an_answer_means_what_its_golden_file_says(path: Path) -> None:
    """Status and body in, one result out, with the time it took."""
    case = golden(path)

    result = answered(case)

    assert as_expected(case["expected"]) == as_told(result), case["note"]
    assert TOOK_MS == getattr(result, "elapsed_ms", None)


@pytest.mark.parametrize("path", files_of("write_ping", "write_post"))
def test_a_message_is_written_as_its_golden_file_says(path: Path) -> None:
    """Properties, their order and JSON types; the strict reader takes it."""
    case = golden(path)

    body = written(case)

    assert orjson.dumps(case["expected"]) == body, case["note"]
    assert case["expected"] == strict_json.loads_object(body)


def test_a_post_is_written_byte_for_byte_the_same() -> None:
    """A re-send has the body of the first send."""
    case = golden(GOLDEN / "exemplary" / "post.json")

    assert written(case) == written(golden(GOLDEN / "exemplary" / "post.json"))


def test_there_are_golden_files_of_every_call() -> None:
    """Nobody moved them away."""
    calls = {golden(path)["call"] for path in FILES}

    assert {"read_bid", "read_answer", "write_ping", "write_post"} == calls
    assert {"exemplary", "supplemental"} == {path.parent.name for path in FILES}


def test_a_contract_in_yen_is_bid_and_posted_in_yen() -> None:
    """The currency that is missing in a bid is the buyer's."""
    case = golden(GOLDEN / "exemplary" / "bid.json") | {"body": '{"bid":"1250","currency":"JPY"}'}
    case["contract"] |= {"currency": "JPY", "max": None}

    assert {"type": "Bid", "price": 1_250_000_000, "bid_id": None, "expires_in_s": None} == (
        as_told(answered(case))
    )
    assert "1250" == format_micros(1_250_000_000, "JPY")


def test_a_buyers_own_words_are_bounded() -> None:
    """At most 200 characters of a note are kept."""
    case = golden(GOLDEN / "exemplary" / "rejected.json")
    case["body"] = '{"status":"rejected","reason":"' + "x" * 5000 + '"}'

    assert "x" * NOTE_MAX == as_told(answered(case))["note"]


def test_bytes_that_are_no_text_decide_nothing() -> None:
    """Latin-1 after a post is unconfirmed, to a ping garbled."""
    body = '{"status":"accepted","buyer_ref":"Añn"}'.encode("latin-1")

    post = read_answer(200, body, TOOK_MS, price_micros=1, resent=False)
    ping = read_bid(200, b'{"bid":"\xff"}', TOOK_MS, ping_id=PING_ID, contract=a_contract())

    assert ("Unconfirmed", "Missed") == (type(post).__name__, type(ping).__name__)


STATUSES = [
    # (HTTP status, body, what it says)
    (200, b'{"status":"accepted"}', "accepted"),
    (200, b'{"status":"rejected","reason":"late"}', "rejected"),
    (200, b'{"status":"unknown"}', "unknown"),
    (200, b'{"status":"pending"}', "unreadable"),  # decides nothing
    (200, b'{"status":["accepted"]}', "unreadable"),  # cannot even be hashed
    (200, b'{"status":{}}', "unreadable"),
    (200, b'{"status":"accepted","status":"rejected"}', "unreadable"),
    (200, b"[" * 700 + b"]" * 700, "unreadable"),
    (200, b"", "unreadable"),
    (204, b"", "unreadable"),
    (404, b'{"status":"rejected"}', "unreadable"),  # not even a definite no
    (500, b'{"status":"accepted"}', "unreadable"),
]


@pytest.mark.parametrize(("status", "body", "said"), STATUSES, ids=range(len(STATUSES)))
def test_a_status_url_says_one_of_three_words_or_nothing(
    status: int, body: bytes, said: str
) -> None:
    """Only 200 with a known word counts; everything else is asked again."""
    assert said == read_status(status, body)
