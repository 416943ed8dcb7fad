"""TRL's losses on log-probabilities that cost less: shared prefixes, packing, importance sampling."""
