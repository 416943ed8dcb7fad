"""What a reply is worth: outcomes, metrics, judges, votes."""
