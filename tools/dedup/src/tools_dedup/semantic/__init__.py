"""Evidence in vectors."""
