"""Whether a host's GPUs are the declared ones and its kernel can drive them. Judges texts; asks nobody."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ansible_collections.llmaas.host.plugins.module_utils.gpu_facts import SIGNING_KEY

# PCI classes: VGA and 3D controllers are GPUs, bridges of the class "other" are NVSwitches
_GPU_CLASSES = ("0300", "0302")
_SWITCH_CLASS = "0680"
_DEVICE = re.compile(r"^(\S+) .*?\[([0-9a-f]{4})\]: .*\[(10de:[0-9a-f]{4})\]", re.MULTILINE)
_MIG_PART = re.compile(r"^\s+MIG (\S+)\s+Device", re.MULTILINE)
# what nvidia-smi reports may differ a little between boards of one model
_MEMORY_TOLERANCE = 0.01
_ENROL = (
    f"mokutil --import {SIGNING_KEY}, restart the host, confirm at its console (MOK management), and run this again"
)


@dataclass(frozen=True)
class Declared:
    """What the stack file says of a host's GPUs; ``where`` is its path there. ``mig`` is a profile or empty."""

    where: str
    model: str
    pci_ids: tuple[str, ...]
    names: tuple[str, ...]
    memory_mib: int
    cards: int
    nvswitch: bool
    mig: str
    mig_instances: int
    driver: str

    @classmethod
    def of(cls, values: dict[str, Any]) -> Declared:
        """From plain data."""
        kept = {name: values[name] for name in cls.__dataclass_fields__}
        return cls(**{**kept, "pci_ids": tuple(kept["pci_ids"]), "names": tuple(kept["names"])})


@dataclass(frozen=True)
class Judgement:
    """``problems`` stop a run before anything is changed; ``notes`` say what the run will change."""

    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()


def bus_devices(lspci: str) -> dict[str, list[tuple[str, str]]]:
    """``gpus`` and ``switches``, each as address and PCI id, from ``lspci -Dnn``."""
    found: dict[str, list[tuple[str, str]]] = {"gpus": [], "switches": []}
    for address, kind, identity in _DEVICE.findall(lspci):
        if kind in _GPU_CLASSES:
            found["gpus"].append((address, identity))
        elif kind == _SWITCH_CLASS:
            found["switches"].append((address, identity))
    return found


def reported(nvidia_smi: str) -> list[dict[str, str]]:
    """Rows of ``nvidia-smi --query-gpu=... --format=csv`` by the names of its columns, without units in the names."""
    lines = list(csv.reader(io.StringIO(nvidia_smi), skipinitialspace=True))
    if not lines:
        return []
    names = [name.partition(" [")[0] for name in lines[0]]
    return [dict(zip(names, row, strict=False)) for row in lines[1:] if row]


def before(facts: dict[str, str], declared: Declared, *, prepared: bool = False) -> Judgement:
    """What stands in the way of a run, all of it, and what the run will change.

    ``prepared``: the run has kept nouveau away and made the key that signs the driver, as far as it can; what still
    stands is a problem from then on.
    """
    rows = reported(facts["nvidia_smi"])
    mended = [] if prepared else list(_mended(facts, declared.where))
    problems = [*_bus(facts, declared), *_kernel(facts, declared.where), *_cards(rows, declared)]
    problems += _not_mended(facts, declared.where) if prepared else []
    problems += [*_ecc(rows, declared.where), *_divisions(rows, facts["nvidia_smi_list"], declared)]
    if declared.nvswitch and rows and facts["fabric_manager"] == "inactive":
        problems.append(_fabric_manager(declared.where))
    notes = mended + [
        f"{declared.where}: the driver {driver} is replaced by {declared.driver}"
        for driver in sorted({row["driver_version"] for row in rows} - {declared.driver})
    ]
    if facts["headers"] == "unknown":
        notes.append(
            f"{declared.where}: the host does not know the site's packages yet; whether they have headers of its kernel"
            f" {facts['kernel']} is judged once it does, before the driver is installed"
        )
    if declared.nvswitch and rows and facts["fabric_manager"] == "absent":
        notes.append(f"{declared.where}.nvswitch: fabric manager is missing and is installed")
    if declared.mig and any(row["mig.mode.current"] == "Disabled" for row in rows):
        notes.append(f"{declared.where}.mig: GPUs are divided into {declared.mig_instances} x {declared.mig}")
    return Judgement(tuple(problems), tuple(notes))


def after(facts: dict[str, str], declared: Declared) -> Judgement:
    """What is not as declared once the runtime is installed."""
    where, rows = declared.where, reported(facts["nvidia_smi"])
    if not rows:
        said = facts["nvidia_smi_failure"] or "it is not installed, or names no GPU"
        return Judgement((f"{where}: nvidia-smi does not answer: {said}; look at: dkms status, journalctl -k",))
    problems = [*_bus(facts, declared), *_cards(rows, declared), *_ecc(rows, where)]
    problems += _divisions(rows, facts["nvidia_smi_list"], declared)
    for row in rows:
        gpu = f"GPU {row['index']}"
        if row["driver_version"] != declared.driver:
            problems.append(
                f"{where}: {gpu} runs the driver {row['driver_version']} and not {declared.driver}; restart the host"
            )
        if row["persistence_mode"] != "Enabled":
            problems.append(f"{where}: {gpu} has no persistence; look at: systemctl status nvidia-persistenced")
    if declared.mig:
        parts = _MIG_PART.findall(facts["nvidia_smi_list"])
        wanted = declared.cards * declared.mig_instances
        if parts.count(declared.mig) != wanted:
            problems.append(
                f"{where}.mig: {parts.count(declared.mig)} parts of {declared.mig}, declared are {wanted};"
                " look at: systemctl status llmaas-mig"
            )
    if declared.nvswitch and facts["fabric_manager"] != "active":
        problems.append(_fabric_manager(where))
    return Judgement(tuple(problems))


def _bus(facts: dict[str, str], declared: Declared) -> Iterator[str]:
    where, found = declared.where, bus_devices(facts["lspci"])
    if len(found["gpus"]) != declared.cards:
        yield (
            f"{where}.count: {len(found['gpus'])} GPUs on the bus, declared are {declared.cards};"
            " seat the missing ones, or declare what is there"
        )
    strangers = [f"{address} [{identity}]" for address, identity in found["gpus"] if identity not in declared.pci_ids]
    if strangers:
        yield (
            f"{where}.model: {', '.join(strangers)} is no {declared.model} ({', '.join(declared.pci_ids)});"
            " declare the model that is there"
        )
    if found["switches"] and not declared.nvswitch:
        yield (
            f"{where}.nvswitch: {len(found['switches'])} NVSwitches are on the bus, and without fabric manager no GPU"
            " behind them computes; declare nvswitch: true"
        )
    if declared.nvswitch and not found["switches"]:
        yield f"{where}.nvswitch: there is no NVSwitch on the bus; leave nvswitch away"


def _kernel(facts: dict[str, str], where: str) -> Iterator[str]:
    """What no run can mend."""
    if facts["headers"] == "missing":
        release = facts["kernel"]
        yield (
            f"{where}: the kernel {release} runs without headers, so no driver can be built for it; mirror"
            f" linux-headers-{release}, or start a kernel whose headers the mirror has"
        )
    if facts["secure_boot"] == "on" and facts["signing_key"] == "not enrolled":
        yield f"{where}: secure boot is on, and the key that signs the driver is not enrolled; run {_ENROL}"


def _mended(facts: dict[str, str], where: str) -> Iterator[str]:
    """What a bare host has or lacks, and the run mends before the driver is installed."""
    if "nouveau" in facts["modules"].split():
        yield f"{where}: the module nouveau is loaded; the run unloads it, or asks for a restart where it is in use"
    if facts["secure_boot"] == "on" and facts["signing_key"] == "absent":
        yield (
            f"{where}: secure boot is on, and there is no key yet to sign the driver with; the run makes it, and ends"
            " before the driver is installed until somebody has enrolled it at the console"
        )
    if facts["secure_boot"] == "on" and facts["signing_key"] == "unknown":
        yield (
            f"{where}: secure boot is on; whether the key that signs the driver is enrolled is judged once the run has"
            " installed mokutil, before the driver is installed"
        )


def _not_mended(facts: dict[str, str], where: str) -> Iterator[str]:
    """The same, where the run has done what it can."""
    if "nouveau" in facts["modules"].split():
        yield (
            f"{where}: the module nouveau holds the GPUs and could not be unloaded, since something uses it; it is kept"
            " away from the next start on: restart the host and run this again"
        )
    if facts["secure_boot"] == "on" and facts["signing_key"] == "absent":
        yield f"{where}: secure boot is on, and there is no key to sign the driver with; look at: ls -l /var/lib/dkms"
    if facts["secure_boot"] == "on" and facts["signing_key"] == "unknown":
        yield (
            f"{where}: secure boot is on, and without mokutil nobody knows whether the key that signs the driver is"
            f" enrolled; install mokutil, then run {_ENROL}"
        )


def _cards(rows: list[dict[str, str]], declared: Declared) -> Iterator[str]:
    """Where the driver answers already: names, memory and number."""
    where = declared.where
    if rows and len(rows) != declared.cards:
        yield (
            f"{where}.count: nvidia-smi sees {len(rows)} GPUs, declared are {declared.cards}; one may have fallen off"
            " the bus, look for Xid in: journalctl -k"
        )
    for row in rows:
        gpu = f"GPU {row['index']}"
        if row["name"] not in declared.names:
            yield f"{where}.model: {gpu} is {row['name']}, declared is {declared.model} ({', '.join(declared.names)})"
        memory = int(row["memory.total"].split()[0])
        if abs(memory - declared.memory_mib) > declared.memory_mib * _MEMORY_TOLERANCE:
            yield f"{where}.memory_gib: {gpu} has {memory} MiB, a {declared.model} has {declared.memory_mib} MiB"


def _ecc(rows: list[dict[str, str]], where: str) -> Iterator[str]:
    off = [row["index"] for row in rows if row["ecc.mode.current"] != "Enabled"]
    if off:
        gpus = ",".join(off)
        yield f"{where}: ECC is off on GPU {gpus}; run nvidia-smi -i {gpus} -e 1 and restart the host"


def _divisions(rows: list[dict[str, str]], listed: str, declared: Declared) -> Iterator[str]:
    """GPUs that are divided in another way than declared: changing that ends what runs on them."""
    where = f"{declared.where}.mig"
    on = [row["index"] for row in rows if row["mig.mode.current"] == "Enabled"]
    if on and not declared.mig:
        gpus = ",".join(on)
        yield (
            f"{where}: MIG is on at GPU {gpus}, and none is declared; drain the host and run"
            f" nvidia-smi -i {gpus} -mig 0, or declare mig"
        )
    others = sorted(set(_MIG_PART.findall(listed)) - {declared.mig})
    if on and declared.mig and others:
        yield (
            f"{where}: GPUs are divided into {', '.join(others)}, declared is {declared.mig}; drain the host and run"
            " nvidia-smi mig -dci && nvidia-smi mig -dgi"
        )


def _fabric_manager(where: str) -> str:
    return (
        f"{where}.nvswitch: fabric manager does not run; its version must be the driver's, look at:"
        " journalctl -u nvidia-fabricmanager"
    )
