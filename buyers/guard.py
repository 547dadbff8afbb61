"""Which addresses buyers may make us dial, and which URLs they may register.

An explicit list, not `ipaddress.is_global`: that calls NAT64, multicast and a cloud's metadata
address global, differently in every Python.
"""

import re
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final
from urllib.parse import quote

import idna

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# fmt: off
_NOT_PUBLIC: Final[tuple[Network, ...]] = tuple(ip_network(text) for text in (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
    "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24",
    "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
    "224.0.0.0/4", "240.0.0.0/4",
    "168.63.129.16/32",  # Azure's own services, on a public address
    "2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20",
))
# fmt: on
_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")  # every other IPv6 address is special somehow
_PORTS: Final = {"http": 80, "https": 443}
_HTTPS_PORTS: Final = frozenset({443, 8443})
_URL_MAX: Final = 2048  # characters
_HOST_MAX: Final = 253

_URL = re.compile(r"(https?)://([^/?#]*)([^#]*)", re.IGNORECASE)
_AUTHORITY = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]]+))(?::([0-9]{1,5}))?")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")  # browsers and inet_aton read such a host as IPv4
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_PATH_SAFE: Final = "/?%:@!$&'()*+,;=~-._[]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a request goes, parsed once; nothing of a lead ever reaches these fields."""

    scheme: str  # "http" or "https"
    host: str  # lower-case ASCII name, or an address without brackets
    port: int
    path_and_query: str  # begins with "/", percent-encoded
    needs_allowed: bool  # every address dialled must lie inside the operator's networks

    @property
    def authority(self) -> str:
        """The Host header: brackets around IPv6, no port where it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The URL as we would write it; checking it again gives the same target."""
        return f"{self.scheme}://{self.authority}{self.path_and_query}"


@dataclass(frozen=True, slots=True)
class UrlRefused:
    """Why a URL cannot be an endpoint. The message never repeats the URL."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """The operator's exceptions to "public addresses only".

    `own_listeners` holds (address, port) of our own sockets: refused even inside the networks.
    A wildcard ("0.0.0.0" or "::") stands for every loopback address; list other interfaces'
    addresses beside it.
    """

    allowed_networks: tuple[Network, ...] = ()
    own_listeners: frozenset[tuple[str, int]] = frozenset()

    def __post_init__(self) -> None:
        normal = frozenset((str(_unwrapped(ip_address(ip))), p) for ip, p in self.own_listeners)
        object.__setattr__(self, "own_listeners", normal)

    def allows(self, ip: str, port: int) -> bool:
        """Whether this address may be dialled for a target without `needs_allowed`."""
        return self.blocked(ip, port) is None

    def blocked(self, ip: str, port: int, *, needs_allowed: bool = False) -> str | None:
        """Why this address must not be dialled: `not_an_address`, `own_listener`, `not_public`,
        `not_allowed` (public, but this target must stay inside the networks); None if it may."""
        address = _address(ip)
        if address is None:
            return "not_an_address"
        if address.is_unspecified or self._is_own(address, port):
            return "own_listener"  # dialling 0.0.0.0 reaches this machine
        if any(address in network for network in self.allowed_networks):
            return None
        if not _is_public(address):
            return "not_public"
        return "not_allowed" if needs_allowed else None

    def check_url(self, url: str) -> Target | UrlRefused:
        """The endpoint's target, or why a buyer may not register it. Looks nothing up."""
        if len(url) > _URL_MAX:
            return UrlRefused("url_too_long", f"must be at most {_URL_MAX} characters")
        if not url.isprintable() or " " in url or "\\" in url or _BAD_PERCENT.search(url):
            return UrlRefused("bad_url", "must be a URL without spaces, controls or backslashes")
        if "#" in url:
            return UrlRefused("fragment", "must not have a fragment")
        parts = _URL.fullmatch(url)
        if parts is None:
            return UrlRefused("bad_url", "must begin with https:// and name a host")
        scheme, authority, rest = parts[1].lower(), parts[2], parts[3]
        if "@" in authority:
            return UrlRefused("userinfo", "must not carry a user name or password")
        found = _AUTHORITY.fullmatch(authority)
        if found is None:
            return UrlRefused("bad_host", "must name a host, and a port only as :443")
        port = int(found[3]) if found[3] else _PORTS[scheme]
        if not 0 < port < 65536:
            return UrlRefused("bad_port", "must have a port from 1 to 65535")
        host = _literal(found[1]) if found[1] else _host(found[2])
        if isinstance(host, UrlRefused):
            return host
        path = quote(rest if rest.startswith("/") else "/" + rest, safe=_PATH_SAFE)
        return self._judge(scheme, host, port, path)

    def _judge(self, scheme: str, host: str, port: int, path: str) -> Target | UrlRefused:
        usual = scheme == "https" and port in _HTTPS_PORTS
        if _address(host) is not None:
            if reason := self.blocked(host, port, needs_allowed=True):
                return UrlRefused(reason, "must be an address the operator allows, or a host name")
            return _target(scheme, host, port, path, needs_allowed=True)
        needs_allowed = not usual or host == "localhost"
        if needs_allowed and not self.allowed_networks:
            return UrlRefused("not_allowed", "must be https on port 443 or 8443, by host name")
        return _target(scheme, host, port, path, needs_allowed=needs_allowed)

    def _is_own(self, address: Address, port: int) -> bool:
        own = self.own_listeners
        if (str(address), port) in own:
            return True
        return address.is_loopback and (("0.0.0.0", port) in own or ("::", port) in own)


def is_address(text: str) -> bool:
    """Whether this host is an IP literal rather than a name."""
    return _address(text) is not None


def _target(scheme: str, host: str, port: int, path: str, *, needs_allowed: bool) -> Target:
    return Target(
        scheme=scheme, host=host, port=port, path_and_query=path, needs_allowed=needs_allowed
    )


def _address(text: str) -> Address | None:
    """The address, v4-mapped unwrapped; None for names, scoped addresses and odd spellings."""
    if "%" in text or not text.isascii():
        return None
    try:
        return _unwrapped(ip_address(text))
    except ValueError:
        return None


def _unwrapped(address: Address) -> Address:
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    return not any(address in network for network in _NOT_PUBLIC)


def _literal(text: str) -> str | UrlRefused:
    address = _address(text)
    if address is None or ":" not in text:
        return UrlRefused("bad_host", "must have an IPv6 address in the brackets")
    return str(address)


def _host(text: str) -> str | UrlRefused:
    """A DNS name in ASCII, or a dotted quad in its one canonical spelling."""
    if text.endswith("."):
        return UrlRefused("trailing_dot", "must not end in a dot")
    try:
        # strict: no mapping of full-width digits, ideographic dots and the like to ASCII
        host = text.lower() if text.isascii() else idna.encode(text.lower(), strict=True).decode()
    except (idna.IDNAError, UnicodeError):
        return UrlRefused("bad_host", "must be a valid internationalised host name")
    labels = host.split(".")
    if len(host) > _HOST_MAX or not all(_LABEL.fullmatch(label) for label in labels):
        return UrlRefused("bad_host", "must be a host name of letters, digits, hyphens and dots")
    if _NUMBER.fullmatch(labels[-1]):
        address = _address(host)
        return str(address) if address else UrlRefused("bad_host", "must be a.b.c.d if an address")
    if len(labels) == 1 and host != "localhost":
        return UrlRefused("single_label_host", "must be a full host name")
    return host
