"""Supervised fine-tuning: teach the answer format, then the task."""

__version__ = "0.2.0"
