"""What is being sold: the live page, the list, one lead and one ping."""
