"""Memory of the host that one model server takes, beside the memory of its GPUs."""

from dataclasses import dataclass
from typing import Final

from llmaas.settings import Gpus, Model

_GIB: Final = 1024

# The lab's tiny model on the CPU: one process, which takes a gigabyte and grows while it starts.
_SIMULATED_REQUEST_MIB: Final = 1024
_SIMULATED_LIMIT_MIB: Final = 5 * _GIB
_SIMULATED_SHARED_MIB: Final = _GIB

# The API's process, the engine and its tokenizers.
_SERVER_MIB: Final = 16 * _GIB
# Each GPU has a worker: CUDA's context, PyTorch and compiled code, weights on their way, its part of shared memory.
_WORKER_MIB: Final = 8 * _GIB
# What workers and NCCL pass to each other; it counts as the server's memory.
_SHARED_OF_A_WORKER_MIB: Final = _GIB


@dataclass(frozen=True)
class HostMemory:
    """In MiB: what is set aside for a server, where the kernel ends it, and how much of that may be shared memory."""

    request_mib: int
    limit_mib: int
    shared_mib: int


def server_memory(model: Model, gpus: Gpus) -> HostMemory:
    """What one replica of ``model`` gets on a host with such GPUs; the stack file's ``memory_gib`` goes before it."""
    simulated = gpus.kind == "simulated"
    shared = _SIMULATED_SHARED_MIB if simulated else _SHARED_OF_A_WORKER_MIB * model.gpus_per_replica
    if model.memory_gib is not None:
        return HostMemory(model.memory_gib * _GIB, model.memory_gib * _GIB, shared)
    if simulated:
        return HostMemory(_SIMULATED_REQUEST_MIB, _SIMULATED_LIMIT_MIB, shared)
    # Nothing lends a server memory that it needs: all of it is set aside.
    needed = _SERVER_MIB + _WORKER_MIB * model.gpus_per_replica
    return HostMemory(needed, needed, shared)
