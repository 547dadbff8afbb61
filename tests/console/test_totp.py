"""One-time codes by RFC 6238, and that none works twice."""

import pytest

from exchange.office.console.entering import totp
from tests.console.offices import ConsoleOffice

# RFC 6238, appendix B: SHA-1, eight digits.
RFC_SECRET = b"12345678901234567890"
RFC_VECTORS = [
    (59, "94287082"),
    (1111111109, "07081804"),
    (1111111111, "14050471"),
    (1234567890, "89005924"),
    (2000000000, "69279037"),
    (20000000000, "65353130"),
]


@pytest.mark.parametrize(("second", "code"), RFC_VECTORS)
def test_the_vectors_of_the_rfc(second: int, code: str) -> None:
    assert code == totp.code_at(RFC_SECRET, second // 30, digits=8)


@pytest.mark.parametrize(
    ("code_of_step", "now_step", "found"),
    [
        (100, 100, 100),
        (100, 101, 100),  # a clock that is late
        (100, 99, 100),  # a clock that is early
        (100, 102, None),
        (100, 98, None),
    ],
)
def test_a_code_lives_a_step_longer_on_either_side(
    code_of_step: int, now_step: int, found: int | None
) -> None:
    code = totp.code_at(RFC_SECRET, code_of_step)

    assert found == totp.step_of(RFC_SECRET, code, now_step * 30 + 12.0)


@pytest.mark.parametrize(
    "code", ["", "28708", "2870820", "abcdef", "２８７０８２", "-87082", "28708e"]
)
def test_what_is_no_code_is_none(code: str) -> None:
    assert None is totp.step_of(RFC_SECRET, code, 59.0)


def test_a_code_may_be_written_in_two_halves() -> None:
    assert 1 == totp.step_of(RFC_SECRET, " 287 082 ", 59.0)


def test_what_the_qr_code_says() -> None:
    text = totp.address_of(RFC_SECRET, "ann@example.com")

    secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
    assert f"otpauth://totp/Exchange:ann%40example.com?secret={secret}&issuer=Exchange" == text
    assert secret == totp.text_of(RFC_SECRET).replace(" ", "")


async def test_no_code_works_twice(desk: ConsoleOffice) -> None:
    """Also not the one that proved the device, and not by two at once."""
    people, now = desk.people, await _server_step(desk)
    await people.add("ann", "admin", None)
    codes = await people.begin_totp("ann", RFC_SECRET, totp.code_at(RFC_SECRET, now))
    assert codes is not None

    assert not await people.is_code("ann", totp.code_at(RFC_SECRET, now))
    following = totp.code_at(RFC_SECRET, now + 1)
    assert await people.is_code("ann", following)
    assert not await people.is_code("ann", following)
    assert not await people.is_code("ann", totp.code_at(RFC_SECRET, now - 1)), "an older one"


async def test_a_recovery_code_works_once(desk: ConsoleOffice) -> None:
    people, now = desk.people, await _server_step(desk)
    await people.add("ann", "admin", None)
    codes = await people.begin_totp("ann", RFC_SECRET, totp.code_at(RFC_SECRET, now))
    assert codes is not None
    assert 10 == len(set(codes))

    assert await people.is_code("ann", codes[3].upper())
    assert not await people.is_code("ann", codes[3])
    assert await people.is_code("ann", codes[4])
    stored = await desk.office.db.fetch("SELECT digest FROM console_recovery")
    assert not any(one.encode() in bytes(row[0]) for one in codes for row in stored)


async def test_the_secret_is_sealed(desk: ConsoleOffice) -> None:
    await desk.people.add("ann", "admin", None)
    await desk.people.begin_totp(
        "ann", RFC_SECRET, totp.code_at(RFC_SECRET, await _server_step(desk))
    )

    stored = await desk.office.db.fetchval("SELECT totp FROM console_user WHERE login = 'ann'")
    assert RFC_SECRET not in stored
    assert RFC_SECRET.hex().encode() not in stored


async def _server_step(_desk: ConsoleOffice) -> int:
    import time

    return int(time.time() // 30)
