"""Remove training rows that repeat a test question."""

__version__ = "0.2.0"
