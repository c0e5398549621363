"""Samplers, pruners, settings, and the loop."""
