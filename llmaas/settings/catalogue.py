"""What is served: models, the weights behind them and how those are built."""

import re
from typing import Annotated, Literal

from pydantic import Field

from llmaas.settings.parsers import REASONING_PARSERS, TOOL_PARSERS, ReasoningParser, ToolParser
from llmaas.settings.types import Count, Day, HostName, ModelName, Name, RelativePath, ReplicaCount, Section

Phase = Literal["experimental", "stable", "deprecated", "removed"]
Capability = Literal["chat", "completions", "embeddings", "tools", "json_schema", "reasoning"]
NumberType = Literal["fp32", "bf16", "fp16", "fp8", "int8", "int4"]


class Architecture(Section):
    """The shape of a transformer as its ``config.json`` gives it; memory and throughput follow from it."""

    parameters: Annotated[int, Field(ge=1, le=10**13)] = Field(
        description="the exact number of parameters, from the safetensors header"
    )
    layers: Annotated[int, Field(ge=1, le=1000)] = Field(description="num_hidden_layers")
    hidden_size: Count = Field(description="hidden_size")
    attention_heads: Annotated[int, Field(ge=1, le=1024)] = Field(description="num_attention_heads")
    kv_heads: Annotated[int, Field(ge=1, le=1024)] = Field(description="num_key_value_heads")
    head_size: Annotated[int, Field(ge=1, le=4096)] = Field(
        description="head_dim, or hidden_size divided by num_attention_heads"
    )
    vocabulary: Annotated[int, Field(ge=1, le=10_000_000)] = Field(description="vocab_size")
    tied_embeddings: bool = Field(description="tie_word_embeddings: true when input and output share one table")
    max_context_tokens: Count = Field(description="max_position_embeddings")
    experts: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=1, description="num_local_experts; 1 for a dense model"
    )
    weight_type: NumberType = Field(default="bf16", description="how weights are stored: bf16, fp16, fp8, int8, int4")
    kv_type: Literal["bf16", "fp16", "fp8"] = Field(
        default="bf16", description="how the KV cache is stored: bf16, fp16, fp8"
    )


class Artefact(Section):
    """Weights as they lie in the site's store.

    The gateway counts tokens with the ``tokenizer.json`` that the manifest names; without one it counts bytes.
    """

    name: Name = Field(description="the artefact's folder name, such as tiny-llama")
    licence: Annotated[str, Field(min_length=1, max_length=100)] = Field(
        description="the licence's SPDX id or name, such as Apache-2.0"
    )
    manifest: RelativePath = Field(description="the file with names and SHA-256, relative to the stack file")
    architecture: Architecture | None = Field(
        default=None, description="the transformer's shape, as in the weights' config.json"
    )


class Model(Section):
    """One name of the API and what stands behind it."""

    name: ModelName = Field(description="the name that tenants call, such as granite3.3:8b")
    phase: Phase = Field(description="experimental, stable, deprecated or removed")
    context_tokens: Count = Field(description="the longest context served, in tokens, at least 1")
    most_output_tokens: Count | None = Field(
        default=None,
        description="max_tokens of a call that names none, at most context_tokens; absent, the rest of the context",
    )
    gpus_per_replica: Annotated[int, Field(ge=1, le=64)] = Field(description="GPUs of one replica, 1 to 64")
    artefact: Name = Field(description="the name of an entry of llmaas:artefacts")
    placement: dict[HostName, ReplicaCount] = Field(
        default={}, description="host name: number of replicas there, 0 to 64; absent, the plan decides"
    )
    minimum_replicas: Annotated[int, Field(ge=0, le=1000)] = Field(
        default=1, description="replicas that must answer even with one host lost (stable), 0 to 1000"
    )
    capabilities: tuple[Capability, ...] = Field(
        default=("chat",), description="chat, completions, embeddings, tools, json_schema, reasoning"
    )
    tool_parser: ToolParser | None = Field(
        default=None, description=f"vLLM's parser of tool calls, with the capability tools: {TOOL_PARSERS}"
    )
    reasoning_parser: ReasoningParser | None = Field(
        default=None, description=f"vLLM's parser of reasoning, with the capability reasoning: {REASONING_PARSERS}"
    )
    memory_gib: Annotated[int, Field(ge=4, le=4096)] | None = Field(
        default=None,
        description="memory of the host for one replica in GiB, 4 to 4096, shared memory included;"
        " absent, 16 and 8 for each GPU",
    )
    production_date: Day | None = Field(default=None, description="the day it became stable, as 2026-08-01")
    long_term_support: bool = Field(default=False, description="true or false")
    announced: Day | None = Field(default=None, description="the day its end was announced, as 2026-08-01")
    end_of_support: Day | None = Field(default=None, description="the last day it is served, as 2026-12-31")
    replacement: ModelName | None = Field(default=None, description="the stable model that tenants should move to")

    @property
    def slug(self) -> str:
        """The name as Kubernetes takes it: ``granite3.3:8b`` is ``granite3-3-8b``."""
        return slug_of(self.name)

    @property
    def only_embeds(self) -> bool:
        """Whether it is served for nothing but embeddings, so that it generates no text."""
        return self.capabilities == ("embeddings",)

    @property
    def placed_by_plan(self) -> bool:
        """Whether the stack file leaves it to the plan where replicas go; ``placement`` is then what was recorded."""
        return "placement" not in self.model_fields_set

    @property
    def replicas(self) -> int:
        """All replicas that the placement in force asks for."""
        return sum(self.placement.values())


def slug_of(name: str) -> str:
    """A model's name as a DNS label; two names may share one, which the settings refuse."""
    return re.sub(r"[^a-z0-9]+", "-", name).strip("-")
