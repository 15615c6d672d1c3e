"""Rules of Prometheus, tried by its own tool."""

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml


def firing(folder: Path, group: Mapping[str, Any], series: Mapping[str, str], name: str, minutes: int = 20) -> int:
    """How many alerts of a name fire after some minutes, as promtool's own message tells them.

    Args:
        folder: for promtool's files.
        group: of rules.
        series: in promtool's notation, a value a minute.
        name: of the alert.
        minutes: after which it is asked.
    """
    assert shutil.which("promtool"), "promtool is not on this machine; run: make packages"
    (folder / "rules.yml").write_text(yaml.safe_dump({"groups": [group]}))
    test = {
        "interval": "1m",
        "input_series": [{"series": key, "values": values} for key, values in series.items()],
        "alert_rule_test": [{"eval_time": f"{minutes}m", "alertname": name, "exp_alerts": []}],
    }
    (folder / "test.yml").write_text(yaml.safe_dump({"rule_files": ["rules.yml"], "tests": [test]}))
    done = subprocess.run(
        ["promtool", "test", "rules", "test.yml"], check=False, capture_output=True, text=True, cwd=folder
    )
    text = done.stdout + done.stderr
    if done.returncode == 0:
        return 0
    assert "got:[" in re.sub(r"\s", "", text), text
    return len(re.findall(rf'alertname="{name}"', text.partition("got:")[2]))
