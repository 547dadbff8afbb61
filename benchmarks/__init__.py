"""How fast the exchange is, beside a peer in the same run; every number here comes from a command.

In reading order: market (who trades), rig (the processes), cost (what they use), quick_buyers and
quick_load (buyers and sellers that cost next to nothing), bare_aiohttp (the peer), sides (the same
asked of both in turn), findings, one file for each scenario, report (tables and results), __main__.

The scenarios: pings, fanout, deadline, filters, sales, memory, overload, tls, scrape; quote_deadline (in
scenarios, with load, the open loop that reads every answer) and catalogue are about one worker.
"""
