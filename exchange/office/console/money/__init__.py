"""The ledger, statements, what is not settled, and reports."""
