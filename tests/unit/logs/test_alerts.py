"""The alerts, tried by Prometheus' own tool: what is exported, and whether somebody is told."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from llmaas.settings import load_platform
from llmaas.views import prometheus

pytestmark = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not on this machine")

LAST_LINE = 'llmaas_log_last_line_timestamp_seconds{sender="gpu-host-05", host="gpu-host-10"}'
MISSING = 'llmaas_log_missing_lines_total{sender="gpu-host-05", host="gpu-host-10"}'
UP = 'up{job="log-hosts", host="gpu-host-10"}'
WATCHED = 'llmaas_log_watch_timestamp_seconds{host="gpu-host-10"}'
OVERDUE = 'llmaas_log_overdue_files{host="gpu-host-10"}'
UNCLOSED = 'llmaas_log_unclosed_files{host="gpu-host-10"}'
FREE = 'llmaas_log_store_free_ratio{host="gpu-host-10"}'


def promtool(*words: str, folder: Path) -> None:
    done = subprocess.run(["promtool", *words], check=False, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr


def alerts(folder: Path, series: dict[str, str], name: str, minutes: int) -> list[dict[str, Any]]:
    """Check that the alert fires, or not, by asking for both: promtool compares whole lists."""
    (folder / "rules.yml").write_text(prometheus.rules(load_platform("lab"), {}))
    for expected in (False, True):
        labels = {"severity": "critical", "host": "gpu-host-10"}
        if "sender" in "".join(series):
            labels["sender"] = "gpu-host-05"
        if name == "LogHostAway":
            labels["job"] = "log-hosts"
        groups = yaml.safe_load(prometheus.rules(load_platform("lab"), {}))["groups"]
        rule = next(rule for group in groups for rule in group["rules"] if rule["alert"] == name)
        summary = rule["annotations"]["summary"]
        for label, value in labels.items():
            summary = summary.replace(f"{{{{ $labels.{label} }}}}", value)
        fired = [{"exp_labels": labels, "exp_annotations": {**rule["annotations"], "summary": summary}}]
        test = {
            "interval": "1m",
            "input_series": [{"series": key, "values": value} for key, value in series.items()],
            "alert_rule_test": [
                {"eval_time": f"{minutes}m", "alertname": name, "exp_alerts": fired if expected else []}
            ],
        }
        (folder / "test.yml").write_text(yaml.safe_dump({"rule_files": ["rules.yml"], "tests": [test]}))
        done = subprocess.run(
            ["promtool", "test", "rules", "test.yml"], check=False, capture_output=True, text=True, cwd=folder
        )
        if done.returncode == 0:
            return fired if expected else []
    pytest.fail(done.stdout + done.stderr)


@pytest.mark.parametrize(
    ("name", "series", "minutes", "fires"),
    [
        ("LogsStopped", {LAST_LINE: "0+60x10"}, 10, False),
        ("LogsStopped", {LAST_LINE: "0 60 120 180 180x10"}, 10, True),
        ("LogsStopped", {LAST_LINE: "0x10"}, 10, True),
        ("LogLinesMissing", {MISSING: "3x10"}, 10, False),
        ("LogLinesMissing", {MISSING: "3x5 4x5"}, 10, True),
        ("LogHostAway", {UP: "1x10"}, 10, False),
        ("LogHostAway", {UP: "1x2 0x10"}, 10, True),
        ("LogHostAway", {UP: "1x8 0x2"}, 10, False),
        ("LogsUnwatched", {WATCHED: "0+60x20"}, 20, False),
        ("LogsUnwatched", {WATCHED: "0+60x5 300x20"}, 20, True),
        ("LogsKeptTooLong", {OVERDUE: "0x200"}, 200, False),
        ("LogsKeptTooLong", {OVERDUE: "1x200"}, 60, False),
        ("LogsKeptTooLong", {OVERDUE: "1x200"}, 130, True),
        ("LogsNotClosed", {UNCLOSED: "0x200"}, 200, False),
        ("LogsNotClosed", {UNCLOSED: "2x200"}, 130, True),
        ("LogStoreFull", {FREE: "0.5x10"}, 10, False),
        ("LogStoreFull", {FREE: "0.05x10"}, 10, True),
    ],
)
def test_an_alert_is_given_when_something_is_wrong_and_not_otherwise(
    tmp_path: Path, *, name: str, series: dict[str, str], minutes: int, fires: bool
) -> None:
    assert bool(alerts(tmp_path, series, name, minutes)) == fires


def test_prometheus_can_read_its_configuration_and_its_rules(tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(prometheus.rules(load_platform("lab"), {}))
    (tmp_path / "prometheus.yml").write_text(prometheus.configuration(load_platform("lab"), "/certificate"))
    promtool("check", "rules", "rules.yml", folder=tmp_path)
    promtool("check", "config", "--syntax-only", "prometheus.yml", folder=tmp_path)
