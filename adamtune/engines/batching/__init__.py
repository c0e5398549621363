"""How a population computes what ``vmap`` alone would compute slowly.

Each formulation replaces one function of torch while a model runs under ``vmap``, for every model
that calls it, and equals it up to rounding. Where there is a kernel for it in C, it is used; torch
operations do the same elsewhere. Images keep their channels last in memory, whatever their shape says.
"""
