"""The learning-rate schedules, one a file: ``factor(step, total, hyperparameters)``, without the warmup."""
