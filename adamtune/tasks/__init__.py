"""The tasks: models, data, losses and scores."""
