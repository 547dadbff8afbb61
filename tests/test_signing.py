"""Our signatures are Standard Webhooks signatures, both ways."""

import base64
import hmac
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from buyers.signing import SignatureInvalid, new_secret, read_secret, sign, verify

SECRET = new_secret(b"acme-california-auto-1234")
OTHER = new_secret(b"somebody-else-altogether-")
KEY = read_secret(SECRET)
BODY = '{"type":"post","fields":{"first_name":"Añn"}}'.encode()
NOW_S = 1_800_000_000


def headers(
    *signatures: str, webhook_id: str = "att_1", stamp: object = NOW_S, body: bytes = BODY
) -> dict[str, str]:
    given = signatures or (sign(KEY, webhook_id, NOW_S, body),)
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(stamp),
        "webhook-signature": " ".join(given),
    }


def test_the_reference_library_verifies_what_we_sign() -> None:
    """A buyer needs nothing but an off-the-shelf library to check us."""
    now_s = int(datetime.now(UTC).timestamp())
    signed = headers(sign(KEY, "att_1", now_s, BODY), stamp=now_s)

    assert {"type": "post", "fields": {"first_name": "Añn"}} == Webhook(SECRET).verify(BODY, signed)


def test_the_reference_library_refuses_another_secret() -> None:
    """The signature depends on the contract's secret."""
    now_s = int(datetime.now(UTC).timestamp())
    signed = headers(sign(read_secret(OTHER), "att_1", now_s, BODY), stamp=now_s)

    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(BODY, signed)


def test_we_verify_what_the_reference_library_signs() -> None:
    """The reference buyers and a seller's callback can rely on either side."""
    at = datetime.fromtimestamp(NOW_S, UTC)
    signed = headers(Webhook(SECRET).sign("att_1", at, BODY.decode()))

    assert "att_1" == verify(KEY, signed, BODY, NOW_S)


@pytest.mark.parametrize("length", [0, 1, 24, 63, 64, 65, 200])
def test_it_is_hmac_of_rfc_2104_whatever_the_key(length: int) -> None:
    """Also for keys longer than a block, and again with the same key."""
    key = bytes(range(length))
    right = hmac.digest(key, b"att_1.%d.%b" % (NOW_S, BODY), "sha256")

    for _ in range(2):
        assert "v1," + base64.b64encode(right).decode() == sign(key, "att_1", NOW_S, BODY)


def test_one_right_signature_among_several_is_enough() -> None:
    """While a secret is rotated the sender signs with both."""
    old = sign(read_secret(OTHER), "att_1", NOW_S, BODY)
    signed = headers(old, "v1a,asymmetric", sign(KEY, "att_1", NOW_S, BODY))

    assert "att_1" == verify(KEY, signed, BODY, NOW_S)


def test_a_resend_with_a_fresh_stamp_has_another_signature() -> None:
    """Id and body stay; the timestamp is signed too."""
    assert sign(KEY, "att_1", NOW_S, BODY) != sign(KEY, "att_1", NOW_S + 5, BODY)


RIGHT = sign(KEY, "att_1", NOW_S, BODY)
INVALID = [
    # (headers, seconds on the receiver's clock, why it is refused)
    (headers(), NOW_S + 301, "too far"),  # stale
    (headers(), NOW_S - 301, "too far"),  # from the future
    (headers(sign(read_secret(OTHER), "att_1", NOW_S, BODY)), NOW_S, "does not match"),
    (headers(sign(KEY, "att_2", NOW_S, BODY)), NOW_S, "does not match"),  # another id
    (headers(sign(KEY, "att_1", NOW_S + 1, BODY)), NOW_S, "does not match"),  # another time
    (headers(sign(KEY, "att_1", NOW_S, BODY + b" ")), NOW_S, "does not match"),  # another body
    (headers(RIGHT.removeprefix("v1,")), NOW_S, "does not match"),  # no version
    (headers(RIGHT.replace("v1", "v2")), NOW_S, "does not match"),  # another version
    ({}, NOW_S, "missing"),
    (headers() | {"webhook-signature": ""}, NOW_S, "does not match"),
    (headers(RIGHT, stamp="soon"), NOW_S, "missing"),
    (headers(RIGHT, stamp="-1"), NOW_S, "missing"),
    (headers(RIGHT, stamp="9" * 5000), NOW_S, "missing"),  # int() of it raises
    (headers(RIGHT, stamp="１８００００００００"), NOW_S, "not ASCII"),  # full-width digits
    (headers(RIGHT, webhook_id="att\udcff") | {}, NOW_S, "not ASCII"),  # a stray byte, as aiohttp
    (headers("v1,\udcff"), NOW_S, "does not match"),
]


@pytest.mark.parametrize(("given", "now_s", "why"), INVALID, ids=range(len(INVALID)))
def test_whatever_does_not_prove_its_sender_is_refused(
    given: dict[str, str], now_s: int, why: str
) -> None:
    """Each ends in SignatureInvalid and in no other exception."""
    with pytest.raises(SignatureInvalid, match=why):
        verify(KEY, given, BODY, now_s)


def test_a_stamp_within_five_minutes_is_fresh() -> None:
    """Clocks may differ by the 300 s that the standard allows, both ends included."""
    assert "att_1" == verify(KEY, headers(), BODY, NOW_S + 300)
    assert "att_1" == verify(KEY, headers(), BODY, NOW_S - 300)


@pytest.mark.parametrize(
    ("secret", "why"),
    [
        ("acme", "whsec_"),  # no prefix
        ("whsec_***", "base64"),
        ("whsec_é", "ASCII"),
        (new_secret(b"x" * 15), "16 to 64"),  # too short to be a secret
        (new_secret(b"x" * 65), "16 to 64"),
    ],
)
def test_a_secret_is_whsec_and_base64(secret: str, why: str) -> None:
    """What cannot be a signing key is a ValueError that does not repeat it."""
    with pytest.raises(ValueError, match=why) as caught:
        read_secret(secret)

    assert secret not in str(caught.value)
