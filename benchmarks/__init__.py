"""How fast the exchange is, beside a peer in the same run; every number here comes from a command.

In reading order: load (asks, on a schedule of its own), rig (the processes and what they cost),
bare_aiohttp (the peer), scenarios (what is asked), report (tables and results), __main__.
"""
