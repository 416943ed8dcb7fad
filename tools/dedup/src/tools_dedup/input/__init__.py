"""Rows and what of them is compared."""
