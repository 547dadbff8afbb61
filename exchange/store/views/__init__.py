"""What pages read: one module a noun, each statement bounded and indexed."""
