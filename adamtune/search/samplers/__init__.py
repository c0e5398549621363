"""Samplers: what suggests the settings of the next trial."""
