"""Learning a teacher's probabilities."""
