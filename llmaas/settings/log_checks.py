"""Where logs go and how long they stay: on other machines than those they tell of, encrypted, six months at least."""

from collections.abc import Iterator
from typing import Final

from llmaas.settings.draft import Draft
from llmaas.settings.errors import Problem
from llmaas.settings.infrastructure import Host
from llmaas.settings.sovereignty import Retention

# SecNumCloud 3.2, 12.6.c; written out here, so that the bounds of the stack file cannot loosen it.
LEAST_DAYS: Final = 180


def _is_lab(draft: Draft) -> bool:
    """Whether no host has a real GPU: what runs there serves nobody."""
    hosts = draft.entries("hosts", Host)
    return all(item.sure("gpus") and (item.value.gpus is None or item.value.gpus.kind == "simulated") for item in hosts)


def every_host_has_another_for_its_logs(draft: Draft) -> Iterator[Problem]:
    """Outside a lab there are two log hosts, so that the logs of each lie on another machine than their own."""
    hosts = draft.entries("hosts", Host)
    if _is_lab(draft) or not hosts or not all(item.sure("roles") for item in hosts):
        return
    found = [item.value.name for item in hosts if "log" in item.value.roles]
    if not found:
        yield Problem("llmaas:hosts", "no host has the role log; give it to two hosts: each keeps the other's logs too")
    elif len(found) == 1:
        yield Problem(
            "llmaas:hosts",
            f"only {found[0]} has the role log, so its own logs lie nowhere else; give it to another too",
        )


def logs_are_kept_for_six_months(draft: Draft) -> Iterator[Problem]:
    """Where there are log hosts the time is declared; outside a lab it is what the law asks, or more."""
    hosts = draft.entries("hosts", Host)
    if not any(item.sure("roles") and "log" in item.value.roles for item in hosts):
        return
    if "retention" not in draft.raw:
        yield Problem("llmaas:retention", "is missing; log hosts delete by it: give a mapping with logs and the others")
        return
    retention: Retention | None = draft.values.get("retention")
    if retention is not None and retention.logs.days < LEAST_DAYS and not _is_lab(draft):
        yield Problem(
            "llmaas:retention.logs.days",
            f"{retention.logs.days} is less than the {LEAST_DAYS} days that logs are kept outside a lab; give more",
        )


def kept_logs_lie_on_an_encrypted_device(draft: Draft) -> Iterator[Problem]:
    """Outside a lab a log host has a device for what it keeps, where devices are encrypted at all."""
    if _is_lab(draft) or "disk_encryption" not in draft.raw:
        return
    for item in draft.entries("hosts", Host):
        if not item.sure("roles", "data_devices") or "log" not in item.value.roles:
            continue
        if all(device.purpose != "log_store" for device in item.value.data_devices):
            yield Problem(
                f"{item.path}.data_devices",
                "has no log_store, so all hosts' logs would lie on a plain disk; give it a device of that purpose",
            )


CHECKS = (every_host_has_another_for_its_logs, logs_are_kept_for_six_months, kept_logs_lie_on_an_encrypted_device)
