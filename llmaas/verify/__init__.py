"""Is an environment what its stack file says? Tests of hosts and API, run against the live system, and one verdict."""

from llmaas.verify.runner import run_checks
from llmaas.verify.verdict import DECLARED, LEFT_OUT, NOT_REACHED, Check, Outcome, Verdict

__all__ = ["DECLARED", "LEFT_OUT", "NOT_REACHED", "Check", "Outcome", "Verdict", "run_checks"]
