"""Where studies are kept: Optuna storages, checkpoints, locks."""
