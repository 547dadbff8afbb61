"""`python -m exchange.http.openapi public|office`: the description and its page, on standard output."""

import os
import sys

import orjson

from exchange.http.openapi.document import LISTENERS, describe
from exchange.http.openapi.page import render

_OTHER = {
    "public": "Operators have a listener of their own.",
    "office": "Sellers and buyers have a listener of their own.",
}
_NICE = 10  # a worker's core is the auctions'


def main(listener: str) -> None:
    if listener not in LISTENERS:
        raise SystemExit(f"one of: {', '.join(LISTENERS)}")
    os.nice(_NICE)
    document = describe(listener)  # type: ignore[arg-type]
    page, policy = render(document, _OTHER[listener])
    made = {"document": orjson.dumps(document).decode(), "page": page, "policy": policy}
    sys.stdout.buffer.write(orjson.dumps(made))


if __name__ == "__main__":
    main(*sys.argv[1:2])
