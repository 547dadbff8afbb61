"""The API's description: OpenAPI 3.1 and a page of it, for each listener its own operations.

`operation` is the words, `common`, `public` and `office` the tables, `documents` and `answers` the
models, `schemas` and `document` make JSON of it, `page` a page. It is made by a process of its own
(`python -m exchange.http.openapi public`), so that no worker imports any of it.
"""
