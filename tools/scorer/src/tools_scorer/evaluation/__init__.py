"""Evaluation of a scorer: metrics, baselines, votes, pruning replayed, and the report."""
