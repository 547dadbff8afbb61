"""A buyer you can run: seeded temper, its own book, an inbox to look into.

In reading order: temper (what it does), book (what it remembers), server (how it is reached).
"""
