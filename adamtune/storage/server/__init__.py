"""Studies on a database server, shared by several processes."""
