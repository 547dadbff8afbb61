"""The demand side: what concerns one buyer. Nothing here compares buyers or knows Postgres.

In reading order: money, messages, contract, reasons, dialects, signing, guard, wire, reference.
"""
