"""From rows to masked token sequences."""
