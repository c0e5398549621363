"""Finds the Adam settings that train a model best, and says whether they beat the defaults."""

__version__ = "0.1.0"

__all__ = ["__version__"]
