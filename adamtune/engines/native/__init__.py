"""C code for the CPU: the kernels of the layers and of the optimizer step."""
