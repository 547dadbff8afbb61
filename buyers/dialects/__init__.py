"""How a buyer is spoken to: pure functions from messages to bytes and back.

A dialect is a module with write_ping, read_bid, write_post and read_answer; `DIALECTS` names them.
"""
