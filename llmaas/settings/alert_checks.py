"""What must hold of alerts: outside a lab they leave the platform, for a machine that is the site's."""

from collections.abc import Iterator

from llmaas.settings.alerts import Alerts
from llmaas.settings.draft import Draft
from llmaas.settings.errors import Problem
from llmaas.settings.infrastructure import Host
from llmaas.settings.machines import machines_by_address


def real_gpus_have_somebody_to_tell(draft: Draft) -> Iterator[Problem]:
    """Where real GPUs serve somebody, alerts go somewhere; simulated ones serve nobody."""
    hosts = [item.value for item in draft.entries("hosts", Host) if item.sure("gpus")]
    if "alerts" not in draft.raw and any(host.gpus is not None and host.gpus.kind == "nvidia" for host in hosts):
        yield Problem(
            "llmaas:alerts",
            "is missing, and hosts have GPUs of kind nvidia: no alert leaves the platform;"
            " give a mapping with receiver, the site's Alertmanager",
        )


def the_receiver_is_a_machine_of_the_site(draft: Draft) -> Iterator[Problem]:
    """Neither a host nor a key server: these accept nothing but what is theirs."""
    # of a section that may be missing the draft keeps only what is right as a whole
    alerts: Alerts | None = draft.values.get("alerts")
    owner = machines_by_address(draft).get(alerts.receiver.address) if alerts else None
    if alerts and owner:
        yield Problem(
            "llmaas:alerts.receiver.address",
            f"{alerts.receiver.address} is the address of {owner}; give one of a machine that is the site's",
        )


CHECKS = (real_gpus_have_somebody_to_tell, the_receiver_is_a_machine_of_the_site)
