"""Platform → what the policies must know of this environment; the invariants themselves stand in ``policies/``."""

from dataclasses import dataclass, field
from datetime import date
from typing import Final
from urllib.parse import urlsplit

from llmaas_policies.model import Parameters, Period, Place, Waiver

from llmaas.settings import Platform, load_platform
from llmaas.views import topology as t
from llmaas.views.disks import mounts

# Every data volume lies below it; the hosts' disk encryption mounts it, and a host test holds that it does.
ENCRYPTED_PATHS: Final = ("/var/lib/llmaas",)


def policy_parameters(platform: Platform, today: date) -> Parameters:
    """The parameters of the policy pack."""
    return Parameters(
        registry=platform.site.registry,
        edge_namespace=t.EDGE,
        encrypted_paths=ENCRYPTED_PATHS,
        country=platform.country,
        stable_models=tuple(model.slug for model in platform.models if model.phase == "stable"),
        public_port=t.EDGE_PUBLIC_PORT,
        administration_port=t.ADMINISTRATION_PORT,
        bastions=tuple(str(address) for address in platform.site.bastions),
        edge_addresses=t.service_addresses(platform),
        services={
            "llmaas:site.registry": platform.site.registry.rsplit(":", 1)[0],
            "llmaas:site.packages_url": urlsplit(platform.site.packages_url).hostname or "",
            "llmaas:site.artefacts_url": urlsplit(platform.site.artefacts_url).hostname or "",
            "llmaas:site.address": str(platform.site.address),
            **{f"llmaas:site.time_servers[{i}]": str(each) for i, each in enumerate(platform.site.time_servers)},
        },
        places=_places(platform),
        retention=_retention(platform),
        encrypted_mounts={host.name: mounts(host) for host in platform.hosts},
        simulated=gpus_are_simulated(platform),
        waivers=tuple(
            Waiver(waiver.rule, waiver.resource, waiver.reason, waiver.expires.isoformat())
            for waiver in platform.waivers
        ),
        today=today.isoformat(),
    )


def gpus_are_simulated(platform: Platform) -> bool:
    """Whether no GPU of the environment is real: a lab, which holds nobody's data."""
    return all(host.gpus is None or host.gpus.kind == "simulated" for host in platform.hosts)


def _places(platform: Platform) -> tuple[Place, ...]:
    """Everything that holds data or images, by its path in the stack file."""
    hosts = (
        Place(f"llmaas:hosts[{index}].country", f"host {host.name}", host.country)
        for index, host in enumerate(platform.hosts)
    )
    places = [*hosts, Place("llmaas:site.registry_country", "registry", platform.site.registry_country)]
    if platform.state is not None:
        places.append(Place("llmaas:state.country", "state backend", platform.state.country))
    if platform.backup is not None:
        places.append(Place("llmaas:backup.country", "backup", platform.backup.country))
    return tuple(places)


def _retention(platform: Platform) -> tuple[Period, ...]:
    if platform.retention is None:
        return ()
    return tuple(
        Period(f"llmaas:retention.{kind}", kind, each.days, each.least_days, each.most_days, each.source)
        for kind, each in (
            ("request_metadata", platform.retention.request_metadata),
            ("logs", platform.retention.logs),
            ("audit", platform.retention.audit),
            ("accounts", platform.retention.accounts),
        )
    )


@dataclass
class ParametersByStack:
    """The parameters for a resource's URN, which names its stack; each stack file is read once."""

    today: date
    _known: dict[str, Parameters] = field(default_factory=dict)

    def __call__(self, urn: str) -> Parameters:
        """For ``urn:pulumi:lab::llmaas::…`` those of the environment lab."""
        stack = urn.removeprefix("urn:pulumi:").split("::", 1)[0]
        if stack not in self._known:
            self._known[stack] = policy_parameters(load_platform(stack), self.today)
        return self._known[stack]
