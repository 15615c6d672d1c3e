"""Alerts of real GPUs, over the metrics of the DCGM exporter, and the list of fields that it reads for them."""

from typing import Any, Final

from llmaas.settings import Platform
from llmaas.views.alerts import alert

JOB: Final = "gpus"
_RUNBOOK: Final = "docs/gpus.md"
# Field of DCGM, kind of metric, and what it says; the exporter reads these and no others.
_FIELDS: Final = (
    ("DCGM_FI_DEV_GPU_TEMP", "gauge", "temperature of the GPU (C)"),
    ("DCGM_FI_DEV_MEMORY_TEMP", "gauge", "temperature of its memory (C)"),
    ("DCGM_FI_DEV_POWER_USAGE", "gauge", "power (W)"),
    ("DCGM_FI_DEV_GPU_UTIL", "gauge", "utilisation (%)"),
    ("DCGM_FI_DEV_FB_USED", "gauge", "memory in use (MiB)"),
    ("DCGM_FI_DEV_FB_FREE", "gauge", "memory that is free (MiB)"),
    ("DCGM_FI_DEV_XID_ERRORS", "gauge", "number of the last Xid error (0 for none)"),
    ("DCGM_FI_DEV_ECC_SBE_VOL_TOTAL", "counter", "single-bit errors that were corrected"),
    ("DCGM_FI_DEV_ECC_DBE_VOL_TOTAL", "counter", "double-bit errors that cannot be corrected"),
    ("DCGM_FI_DEV_ROW_REMAP_FAILURE", "gauge", "1 when a bad row of memory has no spare"),
    ("DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS", "counter", "rows that were replaced for errors"),
    ("DCGM_FI_DEV_CLOCK_THROTTLE_REASONS", "gauge", "why clocks are lowered as bits"),
    ("DCGM_FI_DEV_NVLINK_CRC_FLIT_ERROR_COUNT_TOTAL", "counter", "errors on NVLink"),
)
# DCGM's clock throttle reasons: 0x20 software thermal, 0x40 hardware thermal, 0x80 power brake
_THERMAL_BITS: Final = (0x20, 0x40, 0x80)
_HOT_CELSIUS: Final = 85


def fields() -> str:
    """The exporter's list of fields, as its ``--collectors`` file."""
    return "".join(f"{name}, {kind}, {text}.\n" for name, kind, text in _FIELDS)


def group(platform: Platform) -> dict[str, Any]:
    """Rules about Xid errors, memory errors, heat, throttling and GPUs that are missing."""
    rules = [
        _alert("GpuXid", "DCGM_FI_DEV_XID_ERRORS > 0", "0s", "reports Xid {{ $value }}"),
        _alert("GpuMemoryError", "increase(DCGM_FI_DEV_ECC_DBE_VOL_TOTAL[1h]) > 0", "0s", "has lost data in memory"),
        _alert("GpuMemoryWorn", "DCGM_FI_DEV_ROW_REMAP_FAILURE > 0", "0s", "has no spare rows of memory left"),
        _alert(
            "GpuMemoryAgeing",
            "increase(DCGM_FI_DEV_ECC_SBE_VOL_TOTAL[1d]) > 100",
            "0s",
            "corrects many memory errors",
            severity="warning",
        ),
        _alert("GpuHot", f"DCGM_FI_DEV_GPU_TEMP > {_HOT_CELSIUS}", "5m", "is at {{ $value }} C"),
        _alert("GpuThrottled", _throttled(), "5m", "is slowed down by heat or power"),
        *_missing(platform),
    ]
    return {"name": "gpus", "rules": rules}


def _throttled() -> str:
    """Whether any of the bits is set: PromQL has no operators on bits."""
    field = "DCGM_FI_DEV_CLOCK_THROTTLE_REASONS"
    return " or ".join(f"floor({field} / {bit}) % 2 == 1" for bit in _THERMAL_BITS)


def _missing(platform: Platform) -> list[dict[str, Any]]:
    """One rule for each host: what is not there has no metric to be seen by."""
    found = []
    for host in platform.hosts:
        if host.gpus is None or host.gpus.kind != "nvidia":
            continue
        cards = f'count(count by (UUID) (DCGM_FI_DEV_GPU_TEMP{{Hostname="{host.name}"}}))'
        summary = f"{host.name} shows fewer than its {host.gpus.cards} GPUs"
        few = f"({cards} or vector(0)) < {host.gpus.cards}"
        rule = alert("GpuMissing", few, "5m", summary, runbook=_RUNBOOK)
        rule["labels"]["host"] = host.name
        found.append(rule)
    return found


def _alert(name: str, expression: str, lasting: str, what: str, severity: str = "critical") -> dict[str, Any]:
    summary = f"GPU {{{{ $labels.gpu }}}} of {{{{ $labels.Hostname }}}} {what}"
    return alert(name, expression, lasting, summary, runbook=_RUNBOOK, severity=severity)
