"""Hidden states at step ends: shards, splits, readers."""
