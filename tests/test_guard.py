"""Which addresses may be dialled and which URLs may be registered: tables, the verdict last."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buyers.guard import Guard, Target, UrlRefused

NOTHING = Guard()
LOCAL = Guard(
    allowed_networks=(ip_network("127.0.0.0/8"), ip_network("::1/128"), ip_network("10.1.0.0/16")),
    own_listeners=frozenset({("127.0.0.1", 8080), ("0.0.0.0", 8081)}),
)

REFUSED = """
    0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.127.255.254 127.0.0.1 127.1.2.3
    169.254.169.254 169.254.0.1 172.16.0.1 172.31.255.255 192.0.0.1 192.0.0.170 192.0.2.1
    192.31.196.1 192.52.193.1 192.88.99.1 192.168.0.1 192.168.255.255 192.175.48.1 198.18.0.1
    198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255
    168.63.129.16 :: ::1 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:169.254.169.254 ::ffff:10.0.0.1
    64:ff9b::7f00:1 64:ff9b::8.8.8.8 64:ff9b:1::1 100::1 2001::1 2001:1ff::1 2001:db8::1 2002::1
    2002:7f00:1::1 2620:4f:8000::1 3fff::1 3fff:fff::1 4000::1 5f00::1 fc00::1 fd12::1 fe80::1
    fe80::1%eth0 fec0::1 ff02::1 ff0e::1 1fff::1 0x7f.1 127.1 2130706433 0177.0.0.1 127.0.0.01
    １２７.０.０.１ localhost example.com
""".split()  # noqa: SIM905
REFUSED += ["", " 127.0.0.1", "8.8.8.8 ", "8.8.8.8\n"]

ALLOWED = """
    1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.1 100.63.255.255 100.128.0.1 126.255.255.255 128.0.0.1
    172.15.255.255 172.32.0.1 192.0.1.1 198.17.255.255 198.20.0.1 223.255.255.255 168.63.129.17
    2000::1 2606:4700:4700::1111 2a00:1450:4001:81b::200e 3ffe::1 2001:4860:4860::8888
    ::ffff:8.8.8.8
""".split()  # noqa: SIM905


@pytest.mark.parametrize("ip", REFUSED)
def test_special_addresses_are_refused(ip: str) -> None:
    assert not NOTHING.allows(ip, 443)


@pytest.mark.parametrize("ip", ALLOWED)
def test_public_addresses_are_allowed(ip: str) -> None:
    assert NOTHING.allows(ip, 443)
    assert NOTHING.blocked(ip, 443, needs_allowed=True) == "not_allowed"


@pytest.mark.parametrize(
    ("ip", "port", "needs_allowed", "reason"),
    [
        ("127.0.0.1", 9000, False, None),
        ("127.0.0.1", 9000, True, None),
        ("127.200.0.1", 80, True, None),
        ("::1", 9000, True, None),
        ("::ffff:127.0.0.1", 9000, True, None),
        ("10.1.255.1", 80, True, None),
        ("10.2.0.1", 80, False, "not_public"),
        ("8.8.8.8", 443, False, None),
        ("8.8.8.8", 80, True, "not_allowed"),
        ("127.0.0.1", 8080, False, "own_listener"),
        ("::ffff:127.0.0.1", 8080, False, "own_listener"),
        ("127.0.0.2", 8080, False, None),
        ("127.9.9.9", 8081, False, "own_listener"),  # we listen on every address
        ("::1", 8081, False, "own_listener"),
        ("10.1.0.1", 8081, True, None),
        ("0.0.0.0", 9000, False, "own_listener"),
        ("::", 9000, False, "own_listener"),
        ("nonsense", 80, False, "not_an_address"),
    ],
)
def test_the_operators_networks(
    ip: str, port: int, needs_allowed: bool, reason: str | None
) -> None:
    assert LOCAL.blocked(ip, port, needs_allowed=needs_allowed) == reason


# url, then the target as (re-serialised url, needs_allowed) or the refusal's code
URLS_ANYWHERE: list[tuple[str, tuple[str, bool] | str]] = [
    ("https://buyer.example.com", ("https://buyer.example.com/", False)),
    ("HTTPS://Buyer.Example.COM/Ping?A=b", ("https://buyer.example.com/Ping?A=b", False)),
    ("https://buyer.example.com:443/p", ("https://buyer.example.com/p", False)),
    ("https://buyer.example.com:8443/p", ("https://buyer.example.com:8443/p", False)),
    ("https://buyer.example.com?x=1", ("https://buyer.example.com/?x=1", False)),
    ("https://bücher.example/ä?q=ö", ("https://xn--bcher-kva.example/%C3%A4?q=%C3%B6", False)),
    ("https://BÜCHER.example/", ("https://xn--bcher-kva.example/", False)),
    ('https://e.example/a"<b>|%2F', ("https://e.example/a%22%3Cb%3E%7C%2F", False)),
    ("https://127.example.com/", ("https://127.example.com/", False)),
    ("http://buyer.example.com/", "not_allowed"),
    ("https://buyer.example.com:444/", "not_allowed"),
    ("https://buyer.example.com:80/", "not_allowed"),
    ("https://localhost/", "not_allowed"),
    ("https://8.8.8.8/", "not_allowed"),
    ("https://127.0.0.1/", "not_public"),
    ("https://[::1]/", "not_public"),
    ("https://[2606:4700:4700::1111]/", "not_allowed"),
    ("https://[::ffff:127.0.0.1]/", "not_public"),
    ("https://[64:ff9b::7f00:1]/", "not_public"),
    ("https://[fe80::1%25eth0]/", "bad_host"),
    ("https://[127.0.0.1]/", "bad_host"),
    ("https://[::1/", "bad_host"),
    ("https://[]/", "bad_host"),
    ("https://0x7f.1/", "bad_host"),
    ("https://0x7f000001/", "bad_host"),
    ("https://2130706433/", "bad_host"),
    ("https://127.1/", "bad_host"),
    ("https://0177.0.0.1/", "bad_host"),
    ("https://127.0.0.01/", "bad_host"),
    ("https://1.2.3.4.5/", "bad_host"),
    ("https://example.0x1/", "bad_host"),
    ("https://１２７.０.０.１/", "bad_host"),
    ("https://127。0。0。1/", "bad_host"),
    ("https://ｅxample.com/", "bad_host"),
    ("https://exa%6dple.com/", "bad_host"),
    ("https://exam_ple.com/", "bad_host"),
    ("https://-a.example.com/", "bad_host"),
    ("https://a..example.com/", "bad_host"),
    ("https://.example.com/", "bad_host"),
    ("https:///path", "bad_host"),
    ("https://:443/", "bad_host"),
    ("https://example.com:/", "bad_host"),
    ("https://example.com:44３/", "bad_host"),
    ("https://example.com:+443/", "bad_host"),
    ("https://" + "a" * 64 + ".example/", "bad_host"),
    ("https://" + "a." * 130 + "example/", "bad_host"),
    ("https://example.com:0/", "bad_port"),
    ("https://example.com:65536/", "bad_port"),
    ("https://example.com./", "trailing_dot"),
    ("https://intranet/", "single_label_host"),
    ("https://metadata:8443/", "single_label_host"),
    ("https://user@example.com/", "userinfo"),
    ("https://user:pw@example.com/", "userinfo"),
    ("https://@example.com/", "userinfo"),
    ("https://example.com/#top", "fragment"),
    ("https://example.com#@evil.example/", "fragment"),
    ("https://example.com\\@evil.example/", "bad_url"),
    ("https://example.com/a b", "bad_url"),
    (" https://example.com/", "bad_url"),
    ("https://example.com/\r\nX: y", "bad_url"),
    ("https://exam\tple.com/", "bad_url"),
    ("https://example.com/\x00", "bad_url"),
    ("https://example.com/\u202e", "bad_url"),
    ("https://example.com/%zz", "bad_url"),
    ("ftp://example.com/", "bad_url"),
    ("file:///etc/passwd", "bad_url"),
    ("//example.com/", "bad_url"),
    ("example.com", "bad_url"),
    ("https:example.com", "bad_url"),
    ("", "bad_url"),
    ("https://example.com/" + "a" * 2048, "url_too_long"),
]

URLS_LOCAL: list[tuple[str, tuple[str, bool] | str]] = [
    ("http://127.0.0.1:9001/ping", ("http://127.0.0.1:9001/ping", True)),
    ("http://127.0.0.1", ("http://127.0.0.1/", True)),
    ("http://127.0.0.1:80/", ("http://127.0.0.1/", True)),
    ("https://127.0.0.1/", ("https://127.0.0.1/", True)),
    ("http://[::1]:9001/ping", ("http://[::1]:9001/ping", True)),
    ("http://[::ffff:127.0.0.1]:9001/", ("http://127.0.0.1:9001/", True)),
    ("http://[0:0:0:0:0:0:0:1]/", ("http://[::1]/", True)),
    ("http://localhost:9001/", ("http://localhost:9001/", True)),
    ("https://localhost/", ("https://localhost/", True)),
    ("http://buyer.internal.example/", ("http://buyer.internal.example/", True)),
    ("https://buyer.example.com:444/", ("https://buyer.example.com:444/", True)),
    ("https://buyer.example.com/", ("https://buyer.example.com/", False)),
    ("http://127.0.0.1:8080/", "own_listener"),
    ("http://127.0.0.5:8081/", "own_listener"),
    ("http://0.0.0.0:9001/", "own_listener"),
    ("http://10.2.0.1/", "not_public"),
    ("http://8.8.8.8/", "not_allowed"),
    ("http://intranet/", "single_label_host"),
    ("http://localhost./", "trailing_dot"),
]

CASES = [(NOTHING, url, verdict) for url, verdict in URLS_ANYWHERE]
CASES += [(LOCAL, url, verdict) for url, verdict in URLS_LOCAL]


@pytest.mark.parametrize(("guard", "url", "verdict"), CASES)
def test_urls(guard: Guard, url: str, verdict: tuple[str, bool] | str) -> None:
    found = guard.check_url(url)
    if isinstance(verdict, str):
        assert isinstance(found, UrlRefused)
        assert found.code == verdict
    else:
        assert isinstance(found, Target)
        assert (found.url, found.needs_allowed) == verdict
        assert guard.check_url(found.url) == found


@given(st.text(max_size=40), st.sampled_from(["", "https://", "http://", "https://a.example/"]))
def test_any_text_is_a_stable_target_or_refused(text: str, prefix: str) -> None:
    found = LOCAL.check_url(prefix + text)
    if isinstance(found, Target):
        assert found.url.isascii()
        assert LOCAL.check_url(found.url) == found


@given(st.ip_addresses(), st.integers(1, 65535))
def test_mapped_addresses_are_judged_like_their_ipv4(ip: object, port: int) -> None:
    text = str(ip)
    if ":" not in text:
        assert NOTHING.allows(f"::ffff:{text}", port) == NOTHING.allows(text, port)


def test_the_refusal_never_repeats_the_url() -> None:
    found = NOTHING.check_url("https://someone:secret@example.com/")
    assert isinstance(found, UrlRefused)
    assert "secret" not in found.message
