"""Studies in Optuna's journal, a file that several processes share."""
