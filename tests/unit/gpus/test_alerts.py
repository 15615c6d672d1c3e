"""The alerts of GPUs, tried by Prometheus' own tool, and the exporter's list of what it must read for them."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from alert_rules import firing

from llmaas.settings import load_platform
from llmaas.views import gpu_alerts, prometheus

CARD = 'gpu="3", UUID="GPU-0f82", Hostname="gpu-host-04", job="gpus"'
EVERY = "DCGM_FI_DEV_GPU_TEMP"


def group() -> dict[str, Any]:
    return gpu_alerts.group(load_platform("production"))


def cards(count: int, host: str = "gpu-host-04") -> dict[str, str]:
    return {f'{EVERY}{{gpu="{number}", UUID="GPU-{number}", Hostname="{host}"}}': "40x20" for number in range(count)}


@pytest.mark.parametrize(
    ("name", "series", "fires"),
    [
        ("GpuXid", {f"DCGM_FI_DEV_XID_ERRORS{{{CARD}}}": "0x20"}, False),
        ("GpuXid", {f"DCGM_FI_DEV_XID_ERRORS{{{CARD}}}": "0x15 79x5"}, True),
        ("GpuMemoryError", {f"DCGM_FI_DEV_ECC_DBE_VOL_TOTAL{{{CARD}}}": "2x20"}, False),
        ("GpuMemoryError", {f"DCGM_FI_DEV_ECC_DBE_VOL_TOTAL{{{CARD}}}": "2x10 3x10"}, True),
        ("GpuMemoryWorn", {f"DCGM_FI_DEV_ROW_REMAP_FAILURE{{{CARD}}}": "0x20"}, False),
        ("GpuMemoryWorn", {f"DCGM_FI_DEV_ROW_REMAP_FAILURE{{{CARD}}}": "1x20"}, True),
        ("GpuMemoryAgeing", {f"DCGM_FI_DEV_ECC_SBE_VOL_TOTAL{{{CARD}}}": "0+1x20"}, False),
        ("GpuMemoryAgeing", {f"DCGM_FI_DEV_ECC_SBE_VOL_TOTAL{{{CARD}}}": "0+50x20"}, True),
        ("GpuHot", {f"{EVERY}{{{CARD}}}": "80x20"}, False),
        ("GpuHot", {f"{EVERY}{{{CARD}}}": "80x10 90x10"}, True),
        ("GpuThrottled", {f"DCGM_FI_DEV_CLOCK_THROTTLE_REASONS{{{CARD}}}": "1x20"}, False),
        ("GpuThrottled", {f"DCGM_FI_DEV_CLOCK_THROTTLE_REASONS{{{CARD}}}": "4x20"}, False),
        ("GpuThrottled", {f"DCGM_FI_DEV_CLOCK_THROTTLE_REASONS{{{CARD}}}": "68x20"}, True),
        ("GpuThrottled", {f"DCGM_FI_DEV_CLOCK_THROTTLE_REASONS{{{CARD}}}": "160x20"}, True),
    ],
)
def test_an_alert_of_one_gpu(tmp_path: Path, *, name: str, series: dict[str, str], fires: bool) -> None:
    assert (firing(tmp_path, group(), series, name) > 0) == fires


@pytest.mark.parametrize(("there", "silent"), [(8, 11), (7, 12), (0, 12)])
def test_a_host_with_fewer_gpus_than_declared_is_told(tmp_path: Path, there: int, silent: int) -> None:
    """Of twelve hosts of eight GPUs one shows some, and the eleven others none."""
    assert firing(tmp_path, group(), cards(there), "GpuMissing") == silent


def test_the_exporter_reads_what_the_rules_ask_for() -> None:
    read = {line.split(",")[0] for line in gpu_alerts.fields().splitlines()}
    asked = {name for rule in group()["rules"] for name in re.findall(r"DCGM_\w+", rule["expr"])}
    assert asked <= read
    assert all(len(line.split(", ")) == 3 for line in gpu_alerts.fields().splitlines())


def test_only_real_gpus_are_watched() -> None:
    lab = yaml.safe_load(prometheus.configuration(load_platform("lab"), "/certificate"))
    production = yaml.safe_load(prometheus.configuration(load_platform("production"), "/certificate"))
    jobs = [{job["job_name"] for job in each["scrape_configs"]} for each in (lab, production)]
    assert ["gpus" in names for names in jobs] == [False, True]
    assert "GpuXid" not in prometheus.rules(load_platform("lab"), {})


@pytest.mark.parametrize(("environment", "kind"), [("lab", "simulated"), ("production", "nvidia")])
def test_figures_of_models_say_whether_their_gpus_are_real(environment: str, kind: str) -> None:
    found = yaml.safe_load(prometheus.configuration(load_platform(environment), "/certificate"))["scrape_configs"]
    labels = [
        {each["target_label"]: each["replacement"] for each in job["relabel_configs"]}
        for job in found
        if job["job_name"].startswith(("vllm-", "serving-proxy-"))
    ]
    assert labels
    assert {each["gpu_kind"] for each in labels} == {kind}
