"""Traces stopped while they are sampled: the rules, and what carries them out in an engine."""
