"""Train with GRPO from verifiable rewards."""

__version__ = "0.2.0"
