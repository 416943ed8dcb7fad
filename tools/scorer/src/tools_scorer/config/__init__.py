"""Options: of the commands that make hidden states, and of those that learn from them."""
