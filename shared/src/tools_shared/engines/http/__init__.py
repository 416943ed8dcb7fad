"""Servers: requests to them, and their replies."""
