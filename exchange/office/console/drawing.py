"""Templates and assets, read once when the office starts."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from exchange.office.console.parts import charts, widgets

_HERE: Final = Path(__file__).parent
_YEAR: Final = "public, max-age=31536000, immutable"
_TYPES: Final = {
    ".js": "text/javascript",
    ".css": "text/css",
    ".woff2": "font/woff2",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
}
# Addresses inside of assets: url("inter.woff2"), from "./form.js".
_INNER: Final = {
    ".css": re.compile(rb'(url\("[\w.-]+)("\))'),
    ".js": re.compile(rb'((?:from|import) "\./[\w.-]+)(")'),
}


@dataclass(frozen=True, slots=True)
class Asset:
    body: bytes
    type: str


class Assets:
    """What browsers fetch besides pages: style, modules, font. All of them have one tag, which
    changes when any of them does: a module is then never loaded under two addresses."""

    def __init__(self) -> None:
        paths = sorted((_HERE / "assets").iterdir())
        raw = {path.name: path.read_bytes() for path in paths if path.suffix in _TYPES}
        self._tag = hashlib.sha256(b"".join(raw.values())).hexdigest()[:16]
        self._found = {name: self._asset(name, body) for name, body in raw.items()}

    def _asset(self, name: str, body: bytes) -> Asset:
        suffix = Path(name).suffix
        pattern = _INNER.get(suffix)
        if pattern is not None:  # what it loads, it loads by the tag
            body = pattern.sub(rb"\1?v=" + self._tag.encode() + rb"\2", body)
        return Asset(body, _TYPES[suffix])

    def address(self, name: str) -> str:
        """Where an asset is, with the tag: kept for a year. Raises KeyError when there is none."""
        assert self._found[name]
        return f"/console/assets/{name}?v={self._tag}"

    async def serve(self, request: web.Request) -> web.Response:
        """An asset; one that is asked for without the tag is asked about each time."""
        asset = self._found.get(request.match_info["name"])
        if asset is None:
            raise web.HTTPNotFound
        named, etag = request.query.get("v") == self._tag, f'"{self._tag}"'
        headers = {"Cache-Control": _YEAR if named else "no-cache", "ETag": etag}
        if request.headers.get("If-None-Match") == etag:
            return web.Response(status=304, headers=headers)
        return web.Response(body=asset.body, content_type=asset.type, headers=headers)


def load_templates(assets: Assets) -> Environment:
    """Every template, with the widgets at hand. A name that nobody gave is an error."""
    found = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    found.globals.update(_public(widgets) | _public(charts) | {"asset": assets.address})
    return found


def _public(module: Any) -> dict[str, Callable[..., Any]]:
    return {
        name: value
        for name, value in vars(module).items()
        if callable(value) and not name.startswith("_") and value.__module__ == module.__name__
    }
