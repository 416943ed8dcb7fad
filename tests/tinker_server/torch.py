"""SkyRL imports torch for images alone, which nobody sends here. The version tells transformers that there is none."""

__version__ = "0"
