"""``python -m adamtune``."""

from adamtune.cli.main import main

main()
