"""The back office: a process of its own, so that no report or scrape can stall an auction."""
