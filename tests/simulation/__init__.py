"""Seeded days of trading: the real sale code over the books in memory, in simulated time.

`world` draws a market, sellers and faults from a seed; `market` is the network and the buyers;
`traders` are the sellers; `auditor` keeps naive books of what everybody was told and compares.
"""
