"""Starts the agent: ``python3 -m network_policy_agent --kubeconfig FILE --node NAME``."""

from .command import main

if __name__ == "__main__":
    raise SystemExit(main())
