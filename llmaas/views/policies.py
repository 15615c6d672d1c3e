"""Platform → what the policies must know of this environment; the invariants themselves stand in ``policies/``."""

from datetime import date
from typing import Final

from llmaas_policies.model import Parameters

from llmaas.settings import Platform
from llmaas.views.topology import EDGE

# Every data volume lies below it; the hosts' disk encryption mounts it, and a host test holds that it does.
ENCRYPTED_PATHS: Final = ("/var/lib/llmaas",)


def policy_parameters(platform: Platform, today: date) -> Parameters:
    """The parameters of the policy pack."""
    return Parameters(
        registry=platform.site.registry,
        edge_namespace=EDGE,
        encrypted_paths=ENCRYPTED_PATHS,
        country=platform.country,
        stable_models=tuple(model.slug for model in platform.models if model.phase == "stable"),
        today=today.isoformat(),
    )
