"""What a scorer is worth: metrics, baselines, votes, pruning replayed, and the report."""
