"""Predict from hidden states whether a trace is right."""

__version__ = "0.2.0"
