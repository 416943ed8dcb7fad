"""Scorers: probabilities from hidden states, and from texts by way of them."""
