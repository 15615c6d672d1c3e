"""``python -m llmaas.cli``."""

from llmaas.cli.main import main

main()
