"""Attempts: which one is sampled next, how it is graded, and the journal that keeps it."""
