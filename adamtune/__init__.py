"""Finds the Adam settings that train a model best, many trainings at a time."""

__version__ = "0.1.0"

__all__ = ["__version__"]
