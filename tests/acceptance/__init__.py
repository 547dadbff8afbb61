"""Acceptance: real processes, real sockets, real Postgres, reference buyers."""
