"""Studies in an SQLite file of this machine."""
