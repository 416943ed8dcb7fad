"""The server's connections."""
