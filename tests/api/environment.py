"""The environment under test and what its stack file promises."""

import os
from collections.abc import Callable

from llmaas.admin import NewKey
from llmaas.settings import load_platform

PLATFORM = load_platform(os.environ.get("LLMAAS_ENVIRONMENT") or "lab")
TENANT = "verification"
ENTRANCES = tuple(str(host.address) for host in PLATFORM.hosts_with_role("service"))
SERVED = tuple(model.name for model in PLATFORM.models if model.phase != "removed" and model.placement)

# How long what was killed may take to be back. No promise: a machine that is busy with something else needs long.
BACK_WITHIN_SECONDS = 600

MakeKey = Callable[..., NewKey]
