"""Somebody is told of each certificate long before it ends; once renewed and deployed, nobody is."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from alert_rules import firing

from llmaas.settings import load_platform
from llmaas.views import certificate_alerts, prometheus

# promtool's clock begins here
START = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("days", "name", "told"),
    [
        ((22, 90), "CertificateEnding", 0),
        ((20, 90), "CertificateEnding", 1),
        ((20, 3), "CertificateEnding", 2),
        ((8, 20), "CertificateNearlyOver", 0),
        ((6, 20), "CertificateNearlyOver", 1),
    ],
)
def test_each_certificate_whose_end_is_near_is_told(
    tmp_path: Path, *, days: tuple[int, int], name: str, told: int
) -> None:
    ends = {part: START + timedelta(days=left) for part, left in zip(("edge", "host-gpu-01"), days, strict=True)}
    assert firing(tmp_path, certificate_alerts.group(ends), {}, name) == told


@pytest.mark.parametrize("environment", ["lab", "production"])
def test_every_environment_has_these_alerts(environment: str) -> None:
    ends = {"edge": START}
    groups = yaml.safe_load(prometheus.rules(load_platform(environment), ends))["groups"]
    assert certificate_alerts.group(ends) in groups
