"""Rankings as numbers, and their drawing."""
