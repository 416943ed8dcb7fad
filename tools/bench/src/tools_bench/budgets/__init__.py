"""Accuracy against the number of training rows."""
