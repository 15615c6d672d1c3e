"""OpenAI's Responses API and Anthropic's Messages API, told as chat completions and back; nothing of a call is kept.

A request of either API becomes a chat completion before it is made safe, counted and reserved: there is one way to a
model, whatever the client speaks. What has no equal in a chat completion, or would need a memory, is refused by name.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from llmaas_gateway.dialects.dialect import Dialect
from llmaas_gateway.dialects.messages import Messages
from llmaas_gateway.dialects.responses import Responses

DIALECTS: Final[Mapping[str, type[Dialect]]] = MappingProxyType({"messages": Messages, "responses": Responses})
"""The dialects by the kind of request that ``endpoints`` names."""
