"""Evaluate models and compare runs with intervals."""

__version__ = "0.2.0"
