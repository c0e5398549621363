"""Engines that train members (one member is one training)."""
