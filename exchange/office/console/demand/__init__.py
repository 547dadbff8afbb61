"""Buyers and their contracts: pages, forms, terms in words."""
