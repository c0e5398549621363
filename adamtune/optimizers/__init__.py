"""The optimizers, one file each; ``registry.OPTIMIZERS`` lists them."""
