"""The update rules, one a file: ``coefficients(hyperparameters, step, lr)`` of every member at every step."""
