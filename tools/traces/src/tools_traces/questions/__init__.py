"""The questions to sample."""
