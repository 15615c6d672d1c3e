"""The alerts of the audit: what replicas of the gateway tell, and whether somebody is told."""

from pathlib import Path

import pytest
import yaml
from alert_rules import firing

from llmaas.settings import load_platform
from llmaas.views import audit_alerts, prometheus

DAY_MINUTES = 24 * 60


def intact(replica: str) -> str:
    return f'llmaas_audit_chain_intact{{job="gateway", instance="{replica}"}}'


def checked(replica: str) -> str:
    return f'llmaas_audit_chain_checked_timestamp_seconds{{job="gateway", instance="{replica}"}}'


@pytest.mark.parametrize(
    ("series", "fires"),
    [
        ({intact("a"): "1x20", intact("b"): "1x20"}, False),
        ({intact("a"): "1x20", intact("b"): "1x18 0x2"}, True),
        ({intact("a"): "1x20", intact("b"): "0x20"}, True),
        ({intact("a"): "1x20", intact("b"): "0x10 1x10"}, False),
    ],
)
def test_one_replica_that_found_the_audit_altered_is_heard(
    tmp_path: Path, *, series: dict[str, str], fires: bool
) -> None:
    assert bool(firing(tmp_path, audit_alerts.group(), series, "AuditAltered")) == fires


@pytest.mark.parametrize(
    ("series", "minutes", "fires"),
    [
        ({checked("a"): "0+60x1600", checked("b"): "0x1600"}, 1600, False),
        ({checked("a"): "0+60x60 3600x1600"}, 60 + DAY_MINUTES - 5, False),
        ({checked("a"): "0+60x60 3600x1600", checked("b"): "0x1600"}, 60 + DAY_MINUTES + 35, True),
        ({"up": "1x60"}, 20, False),
        ({"up": "1x60"}, 40, True),
        ({checked("a"): "0+60x10"}, 60, True),
    ],
)
def test_a_check_that_does_not_come_to_its_end_is_told(
    tmp_path: Path, *, series: dict[str, str], minutes: int, fires: bool
) -> None:
    assert bool(firing(tmp_path, audit_alerts.group(), series, "AuditUnchecked", minutes)) == fires


@pytest.mark.parametrize("environment", ["lab", "production"])
def test_every_environment_has_these_alerts(environment: str) -> None:
    groups = yaml.safe_load(prometheus.rules(load_platform(environment), {}))["groups"]
    assert audit_alerts.group() in groups
