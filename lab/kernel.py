"""Settings of the machine's kernel that the lab needs, put back when it goes."""

import json
from pathlib import Path
from typing import Final

from lab.layout import Layout
from lab.machine import boot_id
from llmaas.files import write_atomically

# At least these. Thirteen systemd machines and kubelets as one user exhaust the default of 128 inotify instances.
_MINIMUM: Final = {
    "fs/inotify/max_user_instances": 8192,
    "fs/inotify/max_user_watches": 1_048_576,
    "kernel/keys/maxkeys": 2000,
}
# Exactly these: kubelet sets them or ends, and a host must not be able to change the machine's kernel itself.
_EXACT: Final = {"vm/overcommit_memory": 1, "kernel/panic": 10, "kernel/panic_on_oops": 1}


def _parameter(name: str) -> Path:
    return Path("/proc/sys") / name


def _record(layout: Layout) -> Path:
    return layout.run / "kernel-before.json"


def apply_kernel_settings(layout: Layout) -> None:
    """Set what is missing, having written down what was there before."""
    now = {name: int(_parameter(name).read_text(encoding="ascii")) for name in (*_MINIMUM, *_EXACT)}
    wanted = _EXACT | {name: least for name, least in _MINIMUM.items() if now[name] < least}
    changes = {name: value for name, value in wanted.items() if now[name] != value}
    if not changes:
        return
    before = _before(layout)
    for name in changes:
        before.setdefault(name, str(now[name]))
    write_atomically(_record(layout), json.dumps({"boot": boot_id(), "values": before}))
    for name, value in changes.items():
        _parameter(name).write_text(str(value), encoding="ascii")


def restore_kernel_settings(layout: Layout) -> None:
    """Put back what was there before."""
    for name, value in _before(layout).items():
        _parameter(name).write_text(value, encoding="ascii")
    _record(layout).unlink(missing_ok=True)


def _before(layout: Layout) -> dict[str, str]:
    """What this boot had before; a reboot has put everything back by itself."""
    try:
        record = json.loads(_record(layout).read_text(encoding="utf-8"))
        values: dict[str, str] = record["values"]
    except (FileNotFoundError, ValueError, KeyError):
        return {}
    return values if record.get("boot") == boot_id() else {}
