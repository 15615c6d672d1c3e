#!/usr/bin/python3.11 -s
"""The proxy. Arguments are LiteLLM's own; it never reports its use to anyone."""

import sys

from litellm.proxy.proxy_cli import run_server

if __name__ == "__main__":
    run_server(["--telemetry", "False", *sys.argv[1:]])
