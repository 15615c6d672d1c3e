"""What no section can know alone: names that must exist, addresses that must differ, GPUs that must be there."""

import difflib
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import combinations
from urllib.parse import urlsplit

from llmaas.settings.alert_checks import CHECKS as ALERT_CHECKS
from llmaas.settings.api_checks import CHECKS as API_CHECKS
from llmaas.settings.catalogue import Artefact, Model, slug_of
from llmaas.settings.disk_checks import CHECKS as DISK_CHECKS
from llmaas.settings.draft import Draft, Item
from llmaas.settings.errors import Problem
from llmaas.settings.flow_checks import CHECKS as FLOW_CHECKS
from llmaas.settings.gateway_checks import CHECKS as GATEWAY_CHECKS
from llmaas.settings.gpu_checks import CHECKS as GPU_CHECKS
from llmaas.settings.infrastructure import Host, Network, Site
from llmaas.settings.log_checks import CHECKS as LOG_CHECKS
from llmaas.settings.model_checks import CHECKS as MODEL_CHECKS
from llmaas.settings.service import Demand, Measurement, Tier
from llmaas.settings.tier_checks import CHECKS as TIER_CHECKS
from llmaas.settings.types import Section

Check = Callable[[Draft], Iterator[Problem]]


def _nearest(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    if near:
        return f"did you mean {near[0]}?"
    return f"known are: {', '.join(names)}" if names else "there is none yet"


def names_stand_once(draft: Draft) -> Iterator[Problem]:
    """Hosts, models, artefacts and tiers have names of their own."""
    for section, kind in (("hosts", Host), ("models", Model), ("artefacts", Artefact), ("tiers", Tier)):
        seen: dict[str, str] = {}
        for item in draft.entries(section, kind):
            if not item.sure("name"):
                continue
            name = item.value.name  # type: ignore[attr-defined]
            if name in seen:
                yield Problem(f"{item.path}.name", f"{name!r} is already the name of {seen[name]}; give each its own")
            seen.setdefault(name, item.path)


def slugs_stand_once(draft: Draft) -> Iterator[Problem]:
    """Two model names may not become the same Kubernetes name."""
    seen: dict[str, str] = {}
    for item in draft.entries("models", Model):
        if not item.sure("name"):
            continue
        name = item.value.name
        other = seen.setdefault(slug_of(name), name)
        if other != name:
            yield Problem(
                f"{item.path}.name",
                f"{name!r} and {other!r} are both {slug_of(name)!r} in Kubernetes; rename one",
            )


def addresses_stand_once(draft: Draft) -> Iterator[Problem]:
    """Hosts and the site have addresses of their own."""
    seen = {item.value.address: "the site" for item in draft.entries("site", Site) if item.sure("address")}
    for item in draft.entries("hosts", Host):
        if not item.sure("address"):
            continue
        address = item.value.address
        if address in seen:
            yield Problem(
                f"{item.path}.address", f"{address} is already the address of {seen[address]}; give each host its own"
            )
        seen.setdefault(address, item.value.name if item.sure("name") else item.path)


def the_site_has_one_address(draft: Draft) -> Iterator[Problem]:
    """Mirror, artefact store and registry are reached at the site's address; a name stands for that one too."""
    for item in draft.entries("site", Site):
        if not item.sure("address"):
            continue
        for field, url in item.value.urls.items():
            host = str(urlsplit(url).hostname)
            if item.sure(field) and re.fullmatch(r"[0-9.]+", host) and host != str(item.value.address):
                yield Problem(
                    f"{item.path}.{field}",
                    f"{host} is not llmaas:site.address, the only one at which hosts reach the site;"
                    f" give {item.value.address} or a name",
                )


def hosts_lie_in_their_network(draft: Draft) -> Iterator[Problem]:
    """Every host's address is a usable one of network.hosts."""
    for network in draft.entries("network", Network):
        if not network.sure("hosts"):
            continue
        reach = network.value.hosts
        for item in draft.entries("hosts", Host):
            if not item.sure("address"):
                continue
            address = item.value.address
            if address not in reach:
                yield Problem(
                    f"{item.path}.address",
                    f"{address} lies outside llmaas:network.hosts ({reach}); give an address inside it",
                )
            elif reach.prefixlen < 31 and address in {reach.network_address, reach.broadcast_address}:
                yield Problem(
                    f"{item.path}.address",
                    f"{address} is the network or broadcast address of {reach}; give one between them",
                )


def networks_do_not_overlap(draft: Draft) -> Iterator[Problem]:
    """Hosts, pods and services have ranges of their own."""
    for item in draft.entries("network", Network):
        names = [name for name in ("hosts", "pods", "services") if item.sure(name)]
        for first, second in combinations(names, 2):
            one, other = getattr(item.value, first), getattr(item.value, second)
            if one.overlaps(other):
                yield Problem(
                    f"{item.path}.{second}", f"{other} overlaps {item.path}.{first} ({one}); give it a range of its own"
                )


def control_hosts_keep_a_majority(draft: Draft) -> Iterator[Problem]:
    """An odd number of control hosts, at least one."""
    items = draft.entries("hosts", Host)
    if "hosts" not in draft.raw or not all(item.sure("roles") for item in items):
        return
    control = [item for item in items if "control" in item.value.roles]
    if not control:
        yield Problem("llmaas:hosts", "no host has the role control; give it to one host, or to three")
    elif len(control) % 2 == 0:
        yield Problem(
            "llmaas:hosts",
            f"{len(control)} control hosts survive no more losses than {len(control) - 1};"
            f" use {len(control) - 1} or {len(control) + 1}",
        )


def gpu_hosts_have_gpus(draft: Draft) -> Iterator[Problem]:
    """The role gpu and the key gpus go together; a role stands once."""
    for item in draft.entries("hosts", Host):
        if not item.sure("roles"):
            continue
        roles = item.value.roles
        doubled = sorted({role for role in roles if roles.count(role) > 1})
        if doubled:
            yield Problem(f"{item.path}.roles", f"{', '.join(doubled)} stands twice; name each role once")
        if not item.sure("gpus"):
            continue
        if "gpu" in roles and item.value.gpus is None:
            yield Problem(
                f"{item.path}.gpus", "is missing on a host with role gpu; give kind, model, count, memory_gib"
            )
        if "gpu" not in roles and item.value.gpus is not None:
            yield Problem(f"{item.path}.gpus", "stands on a host without role gpu; add the role or drop the GPUs")


def placements_name_gpu_hosts(draft: Draft) -> Iterator[Problem]:
    """Replicas are placed on hosts that exist and have GPUs."""
    known = draft.names("hosts")
    hosts = {item.value.name: item for item in draft.entries("hosts", Host) if item.sure("name")}
    for model in draft.entries("models", Model):
        if not model.sure("placement") or not isinstance(draft.raw.get("hosts"), list):
            continue
        for name in model.value.placement:
            path = f"{model.path}.placement.{name}"
            if name not in known:
                yield Problem(path, f"is no host of llmaas:hosts; {_nearest(name, known)}")
            elif name in hosts and hosts[name].sure("roles") and "gpu" not in hosts[name].value.roles:
                yield Problem(path, f"{name} has no role gpu; place the replicas on a GPU host")


def gpus_suffice(draft: Draft) -> Iterator[Problem]:
    """No host is asked for more GPUs than it owns."""
    asked: dict[str, list[tuple[Item[Model], int]]] = defaultdict(list)
    for model in draft.entries("models", Model):
        if model.sure("placement", "gpus_per_replica", "phase") and model.value.phase != "removed":
            for host, replicas in model.value.placement.items():
                asked[host].append((model, replicas * model.value.gpus_per_replica))
    for owner in draft.entries("hosts", Host):
        if not owner.sure("name", "gpus") or owner.value.gpus is None:
            continue
        name, owned = owner.value.name, owner.value.gpus.count
        total = sum(count for _, count in asked[name])
        if total > owned:
            parts = ", ".join(f"{item.path} {count}" for item, count in asked[name] if count)
            yield Problem(
                f"{asked[name][-1][0].path}.placement.{name}",
                f"{total} GPUs are asked of {name}, which has {owned} ({parts});"
                f" place {total - owned} of them elsewhere",
            )


def references_exist(draft: Draft) -> Iterator[Problem]:
    """Artefacts and models that are named elsewhere are there."""
    wanted = [
        *_references(draft, "models", Model, "artefact", "artefacts"),
        *_references(draft, "models", Model, "replacement", "models"),
        *_references(draft, "demand", Demand, "model", "models"),
        *_references(draft, "measurements", Measurement, "artefact", "artefacts"),
    ]
    for path, name, section in wanted:
        known = draft.names(section)
        if name not in known and isinstance(draft.raw.get(section), list):
            yield Problem(path, f"{name!r} is no entry of llmaas:{section}; {_nearest(name, known)}")


def _references(
    draft: Draft, section: str, kind: type[Section], field: str, target: str
) -> Iterator[tuple[str, str, str]]:
    for item in draft.entries(section, kind):
        name = getattr(item.value, field)
        if item.sure(field) and name is not None:
            yield f"{item.path}.{field}", name, target


def demands_stand_once(draft: Draft) -> Iterator[Problem]:
    """A model has one demand, so that nothing is counted twice or overlooked."""
    seen: set[str] = set()
    for item in draft.entries("demand", Demand):
        if not item.sure("model"):
            continue
        if item.value.model in seen:
            yield Problem(f"{item.path}.model", f"{item.value.model!r} has a demand already; join the two")
        seen.add(item.value.model)


def contexts_are_possible(draft: Draft) -> Iterator[Problem]:
    """No model promises more context than its weights were made for."""
    shapes = {
        item.value.name: item.value.architecture
        for item in draft.entries("artefacts", Artefact)
        if item.sure("name", "architecture")
    }
    for model in draft.entries("models", Model):
        if not model.sure("artefact", "context_tokens"):
            continue
        shape = shapes.get(model.value.artefact)
        if shape is not None and model.value.context_tokens > shape.max_context_tokens:
            yield Problem(
                f"{model.path}.context_tokens",
                f"{model.value.context_tokens} is more than {model.value.artefact} takes;"
                f" give at most {shape.max_context_tokens}",
            )


CHECKS: tuple[Check, ...] = (
    names_stand_once,
    slugs_stand_once,
    addresses_stand_once,
    the_site_has_one_address,
    hosts_lie_in_their_network,
    networks_do_not_overlap,
    control_hosts_keep_a_majority,
    gpu_hosts_have_gpus,
    placements_name_gpu_hosts,
    gpus_suffice,
    references_exist,
    demands_stand_once,
    contexts_are_possible,
    *API_CHECKS,
    *ALERT_CHECKS,
    *GATEWAY_CHECKS,
    *FLOW_CHECKS,
    *DISK_CHECKS,
    *LOG_CHECKS,
    *GPU_CHECKS,
    *MODEL_CHECKS,
    *TIER_CHECKS,
)
