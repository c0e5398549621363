"""The Adam family: catalog, update rules over a population, schedules."""
