#!/usr/bin/python3.11 -s
"""The proxy inside its gateway. Arguments are LiteLLM's own; it never reports its use to anyone."""

import sys

from llmaas_gateway.proxy.server import main

if __name__ == "__main__":
    sys.exit(main())
