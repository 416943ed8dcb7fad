"""Evidence in words and numbers."""
