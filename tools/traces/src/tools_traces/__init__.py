"""Sample verified reasoning traces from a trained model."""

__version__ = "0.1.0"
