"""Traces: the rows they come from, and what is read of them."""
