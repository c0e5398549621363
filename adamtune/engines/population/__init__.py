"""The population engine: many members trained in lockstep as one batched computation."""
