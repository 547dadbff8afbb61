"""What pages are drawn with: pure functions from values to markup."""
