"""Engines that train members; README.md explains shapes, slots and seeding."""
