"""The study file: YAML to frozen models, every problem reported at once."""
