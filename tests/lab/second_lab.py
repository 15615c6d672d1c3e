"""Starts the command line of the lab under other names, beside the lab that runs: second_lab.py ARGUMENTS..."""

import sys

from lab import layout

# before anything else is imported that reads it
layout.CGROUP = "llmaas-lab-test"  # type: ignore[misc]

from llmaas.cli.lab import app  # noqa: E402 - see above

app(args=sys.argv[1:])
