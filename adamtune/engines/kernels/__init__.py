"""Layers written in C for the CPU, as operators of torch: those that a tape can record."""
