"""Anthropic's Messages API: the request as a chat completion, the answer as a message."""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from llmaas_gateway.dialects import reading
from llmaas_gateway.dialects.blocks import Answer
from llmaas_gateway.dialects.dialect import Dialect
from llmaas_gateway.dialects.messages_answer import MessageStream, error_of, message
from llmaas_gateway.dialects.reading import Turns
from llmaas_gateway.isolation.requests import RequestRefusedError

_REFUSED: Final = {
    "container": "no tool runs here; the tools are the client's own",
    "context_management": "nothing of a request is left out here",
    "mcp_servers": "nothing is called for a client here",
}
_TRANSLATED: Final = frozenset(
    {
        "max_tokens", "messages", "model", "output_config", "stop_sequences", "stream", "system", "temperature",
        "thinking", "tool_choice", "tools", "top_p",
    }
)  # fmt: skip
# Where a prompt is cached is not the client's to say: all of it is, and for its tenant alone.
_DROPPED: Final = frozenset({"cache_control", "inference_geo"})
_SAME: Final = ("model", "max_tokens", "stream", "temperature", "top_p", *sorted(reading.SAMPLING))
_ROLES: Final = {"assistant": "assistant", "user": "user"}
_CHOICES: Final = {"any": "required", "auto": "auto", "none": "none"}
# Efforts stand for budgets of thinking, as the best known proxy translates them.
_EFFORTS: Final = ((10_000, "high"), (5_000, "medium"), (0, "low"))
_EFFORT_WORDS: Final = {"high": "high", "low": "low", "max": "high", "medium": "medium", "xhigh": "high"}
_TOOL_FIELDS: Final = frozenset(
    {"cache_control", "description", "eager_input_streaming", "input_schema", "name", "strict", "type"}
)


class Messages(Dialect):
    """A call to ``/v1/messages``."""

    names = MappingProxyType({"stop": "stop_sequences"})

    def chat(self) -> dict[str, Any]:
        """The request as a chat completion."""
        body = self.body
        reading.known_fields(body, _TRANSLATED | _DROPPED | reading.SAMPLING, _REFUSED)
        if body.get("max_tokens") is None:
            raise RequestRefusedError("max_tokens", "is required")
        turns = Turns()
        if system := body.get("system"):
            turns.add("system", _texts(system, "system"))
        for path, given in reading.entries(body.get("messages"), "messages"):
            if reading.one_of(given.get("role"), f"{path}.role", _ROLES) == "user":
                _user(turns, given.get("content"), f"{path}.content")
            else:
                _assistant(turns, given.get("content"), f"{path}.content")
        chat: dict[str, Any] = {name: body[name] for name in _SAME if body.get(name) is not None}
        chat["messages"] = turns.messages
        if stops := body.get("stop_sequences"):
            chat["stop"] = reading.texts(stops, "stop_sequences")
        return {**chat, **_tools(body), **_reasoning(body), **_format(body)}

    def whole(self, answer: Answer) -> dict[str, Any]:
        """The answer as a message."""
        return message(answer)

    def stream(self, identity: str) -> MessageStream:
        """What translates a streamed answer."""
        return MessageStream(identity)

    def error(self, status: int, error: Mapping[str, Any], identity: str) -> dict[str, Any]:
        """Anthropic's error."""
        return error_of(status, error, identity)


def _texts(given: Any, path: str) -> list[dict[str, Any]]:
    if isinstance(given, str):
        return [{"type": "text", "text": given}]
    texts = []
    for where, block in reading.entries(given, path):
        if block.get("type") != "text":
            raise RequestRefusedError(f"{where}.type", "only text is served here")
        texts.append({"type": "text", "text": reading.text(block.get("text"), f"{where}.text")})
    return texts


def _part(block: Mapping[str, Any], path: str) -> dict[str, Any]:
    """A text or a picture."""
    match block.get("type"):
        case "text":
            return {"type": "text", "text": reading.text(block.get("text"), f"{path}.text")}
        case "image":
            source = reading.mapping(block.get("source"), f"{path}.source")
            if source.get("type") != "base64":
                raise RequestRefusedError(f"{path}.source", "pictures must be sent inline, as base64")
            kind = reading.text(source.get("media_type"), f"{path}.source.media_type")
            data = reading.text(source.get("data"), f"{path}.source.data")
            return reading.image(f"data:{kind};base64,{data}", f"{path}.source")
        case _:
            raise RequestRefusedError(f"{path}.type", "content of this type is not served here")


def _parts(given: Any, path: str) -> list[dict[str, Any]]:
    if isinstance(given, str):
        return [{"type": "text", "text": given}]
    return [_part(block, where) for where, block in reading.entries(given, path)]


def _user(turns: Turns, given: Any, path: str) -> None:
    """Results of tools stand before what the user says; each is a message of its own in a chat."""
    if isinstance(given, str):
        turns.add("user", [{"type": "text", "text": given}])
        return
    parts = []
    for where, block in reading.entries(given, path):
        if block.get("type") == "tool_result":
            call = reading.text(block.get("tool_use_id"), f"{where}.tool_use_id")
            turns.result(call, _parts(block.get("content") or "", f"{where}.content"))
        else:
            parts.append(_part(block, where))
    if parts:
        turns.add("user", parts)


def _assistant(turns: Turns, given: Any, path: str) -> None:
    if isinstance(given, str):
        turns.add("assistant", [{"type": "text", "text": given}])
        return
    parts, calls = [], []
    for where, block in reading.entries(given, path):
        match block.get("type"):
            case "tool_use":
                arguments = json.dumps(reading.mapping(block.get("input"), f"{where}.input"), ensure_ascii=False)
                names = (reading.text(block.get(name), f"{where}.{name}") for name in ("id", "name"))
                calls.append((*names, arguments))
            case "thinking" | "redacted_thinking":
                # Chat templates leave out what a model thought in earlier turns.
                continue
            case _:
                parts.append(_part(block, where))
    if parts or not calls:
        turns.add("assistant", parts)
    for identity, name, arguments in calls:
        turns.call(identity, name, arguments)


def _tools(body: Mapping[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for path, tool in reading.entries(body.get("tools") or [], "tools"):
        if tool.get("type") not in (None, "custom"):
            raise RequestRefusedError(path, "only tools of the client are served here; none runs on our side")
        reading.known_keys(tool, path, _TOOL_FIELDS)
        names = {"name": "name", "description": "description", "input_schema": "parameters", "strict": "strict"}
        function = {told: tool[name] for name, told in names.items() if tool.get(name) is not None}
        told.setdefault("tools", []).append({"type": "function", "function": function})
    if body.get("tool_choice") is not None and told:
        choice = reading.mapping(body["tool_choice"], "tool_choice")
        if choice.get("disable_parallel_tool_use"):
            told["parallel_tool_calls"] = False
        if choice.get("type") == "tool":
            name = reading.text(choice.get("name"), "tool_choice.name")
            told["tool_choice"] = {"type": "function", "function": {"name": name}}
        else:
            told["tool_choice"] = reading.one_of(choice.get("type"), "tool_choice.type", _CHOICES)
    return told


def _reasoning(body: Mapping[str, Any]) -> dict[str, Any]:
    thinking = reading.mapping(body.get("thinking") or {}, "thinking")
    if thinking.get("type") != "enabled":
        return {}
    budget = thinking.get("budget_tokens")
    if isinstance(budget, bool) or not isinstance(budget, int) or budget < 0:
        raise RequestRefusedError("thinking.budget_tokens", "must be a whole number")
    return {"reasoning_effort": next(effort for least, effort in _EFFORTS if budget >= least)}


def _format(body: Mapping[str, Any]) -> dict[str, Any]:
    config = reading.mapping(body.get("output_config") or {}, "output_config")
    reading.known_keys(config, "output_config", {"effort", "format"})
    told: dict[str, Any] = {}
    if (effort := config.get("effort")) is not None:
        told["reasoning_effort"] = reading.one_of(effort, "output_config.effort", _EFFORT_WORDS)
    if (wanted := config.get("format")) is not None:
        wanted = reading.mapping(wanted, "output_config.format")
        if wanted.get("type") != "json_schema":
            raise RequestRefusedError("output_config.format.type", "must be json_schema")
        schema = reading.mapping(wanted.get("schema"), "output_config.format.schema")
        told["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    return told
