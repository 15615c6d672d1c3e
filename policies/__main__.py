# ruff: noqa: INP001 - Pulumi runs this folder; it is no package
"""The policy pack: ``pulumi preview --policy-pack policies``. Serves until the engine ends it."""

import sys
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "policies")]

from llmaas_policies.pack import policies  # noqa: E402 - found through the path above
from pulumi_policy import EnforcementLevel, PolicyPack  # noqa: E402 - likewise

from llmaas.views.policies import ParametersByStack  # noqa: E402 - likewise

PolicyPack(
    name="llmaas",
    enforcement_level=EnforcementLevel.MANDATORY,
    policies=list(policies(ParametersByStack(datetime.now(UTC).date()))),
)
