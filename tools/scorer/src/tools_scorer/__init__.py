"""Learn from hidden states how likely a trace is to be right."""

__version__ = "0.2.0"
