"""Environments: tools that a model calls while it is sampled, and what becomes of their results."""
