"""A reconciliation that does not come to its end, or that found something, is told. Needs promtool."""

from pathlib import Path

import pytest
import yaml
from alert_rules import firing

from llmaas.settings import load_platform
from llmaas.views import money_alerts, prometheus

HOUR = 60


def series(at: str, findings: str = "0x4000", spend: str = "0x4000", replica: str = "a") -> dict[str, str]:
    labels = f'job="gateway", instance="{replica}"'
    return {
        f"llmaas_gateway_reconciliation_timestamp_seconds{{{labels}}}": at,
        f'llmaas_gateway_reconciliation_findings{{{labels}, check="redis"}}': findings,
        f'llmaas_gateway_reconciliation_findings{{{labels}, check="spend"}}': spend,
    }


@pytest.mark.parametrize(
    ("told", "hours", "fires"),
    [
        (series("0x4000"), 26, False),
        (series("0x4000"), 27, True),
        # another replica knows of the next night's
        (series("0x4000") | series("0x1440 86400x2000", replica="b"), 27, False),
        ({'up{job="gateway", instance="a"}': "1x4000"}, 25, False),
        ({'up{job="gateway", instance="a"}': "1x4000"}, 27, True),
    ],
)
def test_a_reconciliation_that_is_late_or_never_was_is_told(
    tmp_path: Path, *, told: dict[str, str], hours: int, fires: bool
) -> None:
    assert bool(firing(tmp_path, money_alerts.group(), told, "ReconciliationLate", hours * HOUR)) == fires


@pytest.mark.parametrize(
    ("told", "fires"),
    [
        (series("0x60"), False),
        (series("0x60", "3x60"), True),
        (series("0x60") | series("0x60", "1x60", replica="b"), True),
    ],
)
def test_a_reconciliation_that_found_something_is_told(tmp_path: Path, *, told: dict[str, str], fires: bool) -> None:
    assert bool(firing(tmp_path, money_alerts.group(), told, "ReconciliationFindings")) == fires


@pytest.mark.parametrize(
    ("spend", "hours", "fires"),
    [
        ("1x4000", 1, True),
        # known since the night before
        ("1x4000", 26, False),
        ("1x1500 2x4000", 26, True),
        ("1x1500 2x4000", 51, False),
        ("2x1500 1x4000", 26, False),
    ],
)
def test_spend_that_parted_from_litellm_s_is_told_for_a_day(
    tmp_path: Path, *, spend: str, hours: int, fires: bool
) -> None:
    told = series("0x4000", spend=spend)
    assert bool(firing(tmp_path, money_alerts.group(), told, "ReconciliationFindings", hours * HOUR)) == fires


@pytest.mark.parametrize("environment", ["lab", "production"])
def test_every_environment_has_these_alerts(environment: str) -> None:
    assert money_alerts.group() in yaml.safe_load(prometheus.rules(load_platform(environment), {}))["groups"]
