"""What a host says of its GPUs, as text: the bus, the driver, the kernel and its start. Changes nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
from glob import glob

QUERY = (
    "index,name,uuid,pci.bus_id,memory.total,driver_version,persistence_mode,mig.mode.current,ecc.mode.current,"
    "compute_mode"
)
NVIDIA = "0x10de"
_SECURE_BOOT = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
# what the role packages writes, and what apt then knows of it
_SITE_SOURCES = "/etc/apt/sources.list.d/site.sources"
_PACKAGE_LISTS = "/var/lib/apt/lists/*_Packages*"
# what DKMS signs modules with; the second is what the machine's firmware must know
PRIVATE_KEY = "/var/lib/dkms/mok.key"
SIGNING_KEY = "/var/lib/dkms/mok.pub"


def collect() -> dict[str, str]:
    """Everything that ``gpu_judgement`` looks at; an empty text where there is nothing to ask."""
    found, failure = _said("nvidia-smi", f"--query-gpu={QUERY}", "--format=csv")
    listed, _ = _said("nvidia-smi", "-L")
    release = os.uname().release
    return {
        "lspci": _devices(),
        "nvidia_smi": found,
        "nvidia_smi_failure": failure,
        "nvidia_smi_list": listed,
        "modules": modules(),
        "kernel": release,
        "headers": _headers(release),
        "secure_boot": secure_boot(),
        "signing_key": _signing_key(),
        "fabric_manager": _unit("nvidia-fabricmanager.service"),
    }


def _said(*command: str) -> tuple[str, str]:
    """What a program prints, and why it failed; both empty where it is not installed."""
    if shutil.which(command[0]) is None:
        return "", ""
    done = subprocess.run(command, capture_output=True, text=True, check=False, errors="replace")
    if done.returncode != 0:
        return "", (done.stdout + done.stderr).strip() or f"exit code {done.returncode}"
    return done.stdout, ""


def _devices() -> str:
    """NVIDIA's devices in the form of ``lspci -Dnn``, told by the kernel: pciutils may not be there yet."""
    lines = []
    for folder in sorted(glob("/sys/bus/pci/devices/*")):
        if _read(f"{folder}/vendor") != NVIDIA:
            continue
        kind, device = _read(f"{folder}/class")[2:6], _read(f"{folder}/device")[2:]
        lines.append(f"{os.path.basename(folder)} Device [{kind}]: NVIDIA Corporation Device [10de:{device}]")
    return "".join(f"{line}\n" for line in lines)


def _read(path: str) -> str:
    with open(path, encoding="ascii") as file:
        return file.read().strip()


def modules() -> str:
    """Names of loaded modules; none where the kernel takes none."""
    if not os.path.exists("/proc/modules"):
        return ""
    with open("/proc/modules", encoding="ascii") as file:
        return " ".join(sorted(line.split()[0] for line in file))


def _headers(release: str) -> str:
    """``installed``, ``available`` from the site, ``missing``, or ``unknown`` where apt has no lists of the site."""
    if os.path.exists(f"/lib/modules/{release}/build/Makefile"):
        return "installed"
    if not (os.path.exists(_SITE_SOURCES) and glob(_PACKAGE_LISTS)):
        return "unknown"
    shown, _ = _said("apt-cache", "policy", f"linux-headers-{release}")
    candidates = [line.partition(":")[2].strip() for line in shown.splitlines() if "Candidate:" in line]
    return "available" if candidates and candidates[0] != "(none)" else "missing"


def secure_boot() -> str:
    """``on``, ``off``, or ``none`` where the machine was not started by UEFI."""
    if not os.path.exists(_SECURE_BOOT):
        return "none"
    with open(_SECURE_BOOT, "rb") as file:
        return "on" if file.read()[-1:] == b"\x01" else "off"


def _signing_key() -> str:
    """``enrolled``, ``not enrolled``, ``absent``, or ``unknown`` where mokutil is not there to be asked."""
    if not os.path.exists(SIGNING_KEY):
        return "absent"
    if shutil.which("mokutil") is None:
        return "unknown"
    done = subprocess.run(["mokutil", "--test-key", SIGNING_KEY], capture_output=True, text=True, check=False)
    return "enrolled" if "is already enrolled" in done.stdout + done.stderr else "not enrolled"


def _unit(name: str) -> str:
    """``active``, ``inactive`` or ``absent``."""
    shown = subprocess.run(
        ["systemctl", "show", "--property=LoadState,ActiveState", name], capture_output=True, text=True, check=False
    ).stdout
    state = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    if state.get("LoadState") != "loaded":
        return "absent"
    return "active" if state.get("ActiveState") == "active" else "inactive"
