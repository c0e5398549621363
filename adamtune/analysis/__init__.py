"""The trials of a study, ranked and as data frames."""
