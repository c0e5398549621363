"""Trials in other programs' formats: MLflow, TensorBoard and Weights & Biases, one file each."""
