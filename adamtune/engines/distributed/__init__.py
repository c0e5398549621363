"""The engine that gives trials to workers: processes of this machine, or actors of a Ray cluster."""
