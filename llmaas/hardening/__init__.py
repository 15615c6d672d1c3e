"""How hard the hosts are, in the eyes of OpenSCAP: an outside judge that reads neither our settings nor our tests."""

from llmaas.hardening.content import ContentError
from llmaas.hardening.judge import JudgeError, judge_host
from llmaas.hardening.results import RuleResult, Score

__all__ = ["ContentError", "JudgeError", "RuleResult", "Score", "judge_host"]
