"""The engine of workers: each trial is a function or a command that runs in a process of its own."""
