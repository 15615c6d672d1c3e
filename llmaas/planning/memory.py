"""GPU memory of one replica, as vLLM divides it: weights, activations, runtime, and the rest for the KV cache.

The constants are vLLM's own log lines on an H100 (V1 engine; llm-d/llm-d-benchmark,
config_explorer/empirical-vllm-memory-results.md), the largest of each kind; ``docs/capacity.md`` shows the table
and the error of these formulas against it.
"""

from dataclasses import dataclass
from math import ceil
from typing import Final

from llmaas.settings import Architecture, Gpus

GIB: Final = 2**30
BYTES: Final = {"fp32": 4.0, "bf16": 2.0, "fp16": 2.0, "fp8": 1.0, "int8": 1.0, "int4": 0.5}
# "torch peak memory increase": 4.76 to 5.64 GiB for dense models, 7.38 for mixtures of experts, whatever the context
ACTIVATION_BYTES_DENSE: Final = int(5.64 * GIB)
ACTIVATION_BYTES_EXPERTS: Final = int(7.38 * GIB)
# "non-torch forward increase memory": 0.14 GiB alone, 0.55 GiB with tensor parallelism (NCCL buffers)
RUNTIME_BYTES_ALONE: Final = int(0.14 * GIB)
RUNTIME_BYTES_PARALLEL: Final = int(0.55 * GIB)
# vLLM hands out the KV cache in blocks of this many tokens
BLOCK_TOKENS: Final = 16
# graphs are captured after the KV cache took its share, so they must fit beside it: at most 1.03 GiB was seen
GRAPH_BYTES: Final = int(1.03 * GIB)


@dataclass(frozen=True)
class ReplicaMemory:
    """Bytes on each GPU of a replica, and what its KV cache holds."""

    weight_bytes: int
    activation_bytes: int
    runtime_bytes: int
    usable_bytes: int
    kv_bytes_per_token: int
    kv_tokens: int

    def requests_at(self, tokens: int) -> float:
        """How many requests of that length the KV cache holds at once."""
        return self.kv_tokens / (ceil(tokens / BLOCK_TOKENS) * BLOCK_TOKENS)


def weight_bytes(shape: Architecture) -> int:
    """All weights; the tables of input and output embeddings stay at 16 bits when the rest is quantised."""
    width = BYTES[shape.weight_type]
    tables = shape.vocabulary * shape.hidden_size * (1 if shape.tied_embeddings else 2)
    return ceil(shape.parameters * width + max(0.0, 2.0 - width) * min(tables, shape.parameters))


def kv_bytes_per_token(shape: Architecture, gpus: int) -> int:
    """Keys and values of one token on each GPU: a KV head is copied, not cut, when there are more GPUs than heads."""
    heads = max(1, ceil(shape.kv_heads / gpus))
    return int(2 * shape.layers * heads * shape.head_size * BYTES[shape.kv_type])


def replica_memory(shape: Architecture, gpus: int, card: Gpus) -> ReplicaMemory:
    """What a replica over ``gpus`` cards has room for; ``kv_tokens`` is 0 when the weights alone do not fit."""
    share = int(card.memory_gib * GIB * card.memory_share)
    beside = card.memory_gib * GIB - GRAPH_BYTES
    usable = min(share, beside)
    weights = ceil(weight_bytes(shape) / gpus)
    activation = ACTIVATION_BYTES_DENSE if shape.experts == 1 else ACTIVATION_BYTES_EXPERTS
    runtime = RUNTIME_BYTES_ALONE if gpus == 1 else RUNTIME_BYTES_PARALLEL
    per_token = kv_bytes_per_token(shape, gpus)
    room = max(0, usable - weights - activation - runtime)
    tokens = room // (per_token * BLOCK_TOKENS) * BLOCK_TOKENS
    return ReplicaMemory(weights, activation, runtime, usable, per_token, tokens)
