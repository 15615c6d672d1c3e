"""What must agree inside one model: capability and parser, GPUs and memory, output and context."""

from collections.abc import Iterator
from typing import Final

from llmaas.settings.catalogue import Model
from llmaas.settings.draft import Draft
from llmaas.settings.errors import Problem
from llmaas.settings.parsers import REASONING_PARSERS, TOOL_PARSERS

# the capability, the field that serves it, and what may stand there
_PARSERS: Final = (("tools", "tool_parser", TOOL_PARSERS), ("reasoning", "reasoning_parser", REASONING_PARSERS))

_LEAST_MEMORY_GIB: Final = 4


def capabilities_have_their_parsers(draft: Draft) -> Iterator[Problem]:
    """Without its parser vLLM answers tool calls with 400 and hands out reasoning as if it were the answer."""
    for item in draft.entries("models", Model):
        for capability, field, known in _PARSERS:
            if not item.sure("capabilities", field):
                continue
            given = getattr(item.value, field)
            sold = capability in item.value.capabilities
            if sold and given is None:
                yield Problem(
                    f"{item.path}.{field}",
                    f"is missing, and capabilities has {capability}; give the one that fits the weights, of {known}",
                )
            elif given is not None and not sold:
                yield Problem(
                    f"{item.path}.{field}", f"stands without the capability {capability}; add that, or drop the parser"
                )


def memory_holds_what_is_shared(draft: Draft) -> Iterator[Problem]:
    """Shared memory, 1 GiB for each GPU, is part of a replica's memory, and the server must have some beside it."""
    for item in draft.entries("models", Model):
        if not item.sure("memory_gib", "gpus_per_replica") or item.value.memory_gib is None:
            continue
        least = _LEAST_MEMORY_GIB + item.value.gpus_per_replica
        if item.value.memory_gib < least:
            yield Problem(
                f"{item.path}.memory_gib",
                f"{item.value.memory_gib} is less than a server with {item.value.gpus_per_replica} GPUs can start in;"
                f" give {least} or more, or leave it away",
            )


def output_fits_the_context(draft: Draft) -> Iterator[Problem]:
    """A bound of output beyond the context would bound nothing."""
    for item in draft.entries("models", Model):
        if not item.sure("most_output_tokens", "context_tokens"):
            continue
        own, context = item.value.most_output_tokens, item.value.context_tokens
        if own is not None and own > context:
            yield Problem(
                f"{item.path}.most_output_tokens", f"{own} is more than context_tokens; give at most {context}"
            )


CHECKS = (capabilities_have_their_parsers, memory_holds_what_is_shared, output_fits_the_context)
