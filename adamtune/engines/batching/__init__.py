"""Batching rules: how a population computes the layers that ``vmap`` alone would compute slowly.

While a model runs under ``vmap``, each rule replaces one function of torch by one over the tensors of all
members. It equals torch's function up to rounding. On a CPU it uses a kernel in C where there is one,
elsewhere torch operations. What a rule does not cover is left to torch. Images have their channels last in
memory, whatever the order of their dimensions.
"""
