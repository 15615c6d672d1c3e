"""What must agree inside one model: a capability that is sold and the parser without which vLLM refuses it."""

from collections.abc import Iterator
from typing import Final

from llmaas.settings.catalogue import Model
from llmaas.settings.draft import Draft
from llmaas.settings.errors import Problem
from llmaas.settings.parsers import REASONING_PARSERS, TOOL_PARSERS

# the capability, the field that serves it, and what may stand there
_PARSERS: Final = (("tools", "tool_parser", TOOL_PARSERS), ("reasoning", "reasoning_parser", REASONING_PARSERS))


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


CHECKS = (capabilities_have_their_parsers,)
