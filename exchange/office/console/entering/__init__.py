"""Who gets in: users, sessions, keys, one-time links and codes."""
