"""Finds the Adam settings that train a model best, many trainings at a time."""

__version__ = "0.2.0"

__all__ = ["__version__"]
