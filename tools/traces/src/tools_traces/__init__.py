"""Sample verified reasoning traces from a trained model."""

__version__ = "0.2.0"
