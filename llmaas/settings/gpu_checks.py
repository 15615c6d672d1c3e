"""What must agree between GPUs, the set that runs them, and the models that are placed on them."""

from collections.abc import Iterator

from llmaas.settings.catalogue import Model
from llmaas.settings.draft import Draft
from llmaas.settings.errors import Problem
from llmaas.settings.gpus import Gpus
from llmaas.settings.infrastructure import Host


def _declared(draft: Draft) -> Iterator[tuple[str, str, Gpus]]:
    """Path, host name and GPUs of every host whose GPUs can be relied on."""
    for item in draft.entries("hosts", Host):
        if item.sure("name", "gpus") and item.value.gpus is not None:
            yield f"{item.path}.gpus", item.value.name, item.value.gpus


def real_gpus_have_a_runtime(draft: Draft) -> Iterator[Problem]:
    """A set of versions is named where a driver must be installed."""
    if "gpu_runtime" not in draft.raw and any(gpus.kind == "nvidia" for _, _, gpus in _declared(draft)):
        yield Problem(
            "llmaas:gpu_runtime", "is missing, and hosts have GPUs of kind nvidia; name a set of gpu-runtime.yaml"
        )


def simulated_gpus_have_no_parts(draft: Draft) -> Iterator[Problem]:
    """What is only counted has neither switches nor divisions."""
    for path, _, gpus in _declared(draft):
        if gpus.kind == "simulated":
            if gpus.nvswitch:
                yield Problem(f"{path}.nvswitch", "is true, and the GPUs are simulated; leave it away")
            if gpus.mig is not None:
                yield Problem(f"{path}.mig", "divides simulated GPUs; leave it away")


def divided_gpus_count_in_parts(draft: Draft) -> Iterator[Problem]:
    """``count`` is the number of all parts, and no model spans several of them."""
    divided = set()
    for path, name, gpus in _declared(draft):
        if gpus.mig is None:
            continue
        divided.add(name)
        if gpus.count % gpus.mig.instances:
            yield Problem(
                f"{path}.count",
                f"{gpus.count} is no multiple of mig.instances ({gpus.mig.instances}); count all parts of all GPUs",
            )
    for model in draft.entries("models", Model):
        if not model.sure("placement", "gpus_per_replica") or model.value.gpus_per_replica == 1:
            continue
        for host in sorted(divided & set(model.value.placement)):
            yield Problem(
                f"{model.path}.placement.{host}",
                f"its GPUs are divided, and a replica takes {model.value.gpus_per_replica}; parts of GPUs cannot be"
                " joined, so place it on whole ones",
            )


CHECKS = (real_gpus_have_a_runtime, simulated_gpus_have_no_parts, divided_gpus_count_in_parts)
