"""Which rows go, and why."""
