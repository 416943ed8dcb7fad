"""Servers: what is posted to them, and what their replies say."""
