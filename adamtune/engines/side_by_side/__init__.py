"""The engine that trains members side by side, each in one thread of a process."""
