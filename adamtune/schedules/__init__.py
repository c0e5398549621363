"""The learning-rate schedules, one file each; ``registry.SCHEDULES`` lists them."""
