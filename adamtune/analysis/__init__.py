"""Rankings and statistics of a study's trials, without drawing."""
