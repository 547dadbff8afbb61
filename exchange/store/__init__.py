"""Postgres, one file per noun. `rows` are the values, `store.Store` is what the trade may ask.

`postgres.PostgresStore` keeps the books; `memory.MemoryStore` is its verified twin: one suite
(tests/test_ledger.py) runs on both.
"""
