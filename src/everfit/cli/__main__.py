"""``python -m everfit.cli``."""

from everfit.cli import main

main()
