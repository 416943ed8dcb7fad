"""Remove training rows that repeat a test question."""

__version__ = "0.1.0"
