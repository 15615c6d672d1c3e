"""OpenAI's Responses API: the request as a chat completion, the answer as a response. No response is kept."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from llmaas_gateway.dialects import reading
from llmaas_gateway.dialects.blocks import Answer
from llmaas_gateway.dialects.dialect import Dialect
from llmaas_gateway.dialects.reading import Turns
from llmaas_gateway.dialects.responses_answer import ResponseStream, response
from llmaas_gateway.isolation.requests import RequestRefusedError

_NO_MEMORY: Final = "nothing of a conversation is kept here; send its earlier items in input"
_REFUSED: Final = {
    "background": "answers are given at once here, none is made in the background",
    "context_management": _NO_MEMORY,
    "conversation": _NO_MEMORY,
    "max_tool_calls": "no tool runs here; the tools are the client's own",
    "previous_response_id": _NO_MEMORY,
    "prompt": "no prompts are kept here; send its text",
    "store": "no response is kept here; leave it out, or send false",
    "top_logprobs": "is not served by this endpoint here; /v1/chat/completions has it",
}
_TRANSLATED: Final = frozenset(
    {
        "include", "input", "instructions", "max_output_tokens", "model", "parallel_tool_calls", "reasoning", "stream",
        "stream_options", "temperature", "text", "tool_choice", "tools", "top_p", "truncation",
    }
)  # fmt: skip
# Hints for a cache that is the gateway's to keep apart.
_DROPPED: Final = frozenset({"client_metadata", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention"})
_SAME: Final = ("model", "parallel_tool_calls", "stream", "temperature", "top_p", *sorted(reading.SAMPLING))
_ROLES: Final = {"assistant": "assistant", "developer": "system", "system": "system", "user": "user"}
_TEXTS: Final = {"input_text": "text", "output_text": "text", "refusal": "refusal"}
_CHOICES: Final = {"auto": "auto", "none": "none", "required": "required"}
# What clients ask to be included of a reasoning that they shall send back; ours stands in the answer as it is.
_INCLUDED: Final = frozenset({"reasoning.encrypted_content"})


class Responses(Dialect):
    """A call to ``/v1/responses``."""

    names = MappingProxyType({"max_completion_tokens": "max_output_tokens"})

    def chat(self) -> dict[str, Any]:
        """The request as a chat completion."""
        body = self.body
        reading.known_fields(body, _TRANSLATED | _DROPPED | reading.SAMPLING, _REFUSED)
        if unknown := sorted(set(reading.texts(body.get("include"), "include")) - _INCLUDED):
            raise RequestRefusedError("include", f"{unknown[0]} is not served here")
        if body.get("truncation") not in (None, "disabled"):
            raise RequestRefusedError("truncation", "nothing of a request is left out here; only disabled is served")
        turns = Turns()
        if instructions := body.get("instructions"):
            turns.add("system", [{"type": "text", "text": reading.text(instructions, "instructions")}])
        _input(turns, body.get("input"))
        chat: dict[str, Any] = {name: body[name] for name in _SAME if body.get(name) is not None}
        chat["messages"] = turns.messages
        if (most := body.get("max_output_tokens")) is not None:
            chat["max_completion_tokens"] = most
        return {**chat, **_tools(body), **_format(body), **_effort(body)}

    def whole(self, answer: Answer) -> dict[str, Any]:
        """The answer as a response."""
        return response(self.body, answer)

    def stream(self, identity: str) -> ResponseStream:
        """What translates a streamed answer."""
        return ResponseStream(identity, self.body)

    def error(self, status: int, error: Mapping[str, Any], identity: str) -> dict[str, Any]:  # noqa: ARG002
        """OpenAI's error, which is the same at all its endpoints."""
        return {"error": dict(error)}


def _input(turns: Turns, given: Any) -> None:
    if isinstance(given, str):
        turns.add("user", [{"type": "text", "text": given}])
        return
    for path, item in reading.entries(given, "input"):
        match item.get("type", "message"):
            case "message":
                role = reading.one_of(item.get("role"), f"{path}.role", _ROLES)
                turns.add(role, _parts(item.get("content"), f"{path}.content"))
            case "function_call":
                names = ("call_id", "name", "arguments")
                turns.call(*(reading.text(item.get(name), f"{path}.{name}") for name in names))
            case "function_call_output":
                call = reading.text(item.get("call_id"), f"{path}.call_id")
                turns.result(call, _parts(item.get("output"), f"{path}.output"))
            case "reasoning":
                # Chat templates leave out what a model thought in earlier turns.
                continue
            case "item_reference":
                raise RequestRefusedError(path, _NO_MEMORY)
            case _:
                raise RequestRefusedError(f"{path}.type", "items of this type are not served here")


def _parts(given: Any, path: str) -> list[dict[str, Any]]:
    if isinstance(given, str):
        return [{"type": "text", "text": given}]
    parts = []
    for where, part in reading.entries(given, path):
        kind = part.get("type")
        if isinstance(kind, str) and kind in _TEXTS:
            parts.append({"type": "text", "text": reading.text(part.get(_TEXTS[kind]), f"{where}.{_TEXTS[kind]}")})
        elif kind == "input_image":
            if part.get("file_id"):
                raise RequestRefusedError(f"{where}.file_id", "no files are kept here; send the picture as a data: URL")
            url = reading.text(part.get("image_url"), f"{where}.image_url")
            parts.append(reading.image(url, f"{where}.image_url"))
        else:
            raise RequestRefusedError(f"{where}.type", "content of this type is not served here")
    return parts


def _tools(body: Mapping[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for path, tool in reading.entries(body.get("tools") or [], "tools"):
        if tool.get("type") != "function":
            raise RequestRefusedError(path, 'only tools of the type "function" are served here; none runs on our side')
        reading.known_keys(tool, path, {"type", "name", "description", "parameters", "strict"})
        fields = ("name", "description", "parameters", "strict")
        function = {name: tool[name] for name in fields if tool.get(name) is not None}
        told.setdefault("tools", []).append({"type": "function", "function": function})
    choice = body.get("tool_choice")
    if isinstance(choice, Mapping):
        if choice.get("type") != "function":
            raise RequestRefusedError("tool_choice.type", "only a function can be chosen here")
        name = reading.text(choice.get("name"), "tool_choice.name")
        told["tool_choice"] = {"type": "function", "function": {"name": name}}
    elif choice is not None and told:
        # Without tools there is nothing to choose, and vLLM refuses the choice.
        told["tool_choice"] = reading.one_of(choice, "tool_choice", _CHOICES)
    return told


def _format(body: Mapping[str, Any]) -> dict[str, Any]:
    text = reading.mapping(body.get("text") or {}, "text")
    if text.get("verbosity") not in (None, "medium"):
        raise RequestRefusedError("text.verbosity", "is not served here")
    reading.known_keys(text, "text", {"format", "verbosity"})
    wanted = reading.mapping(text.get("format") or {"type": "text"}, "text.format")
    match wanted.get("type"):
        case "text":
            return {}
        case "json_object":
            return {"response_format": {"type": "json_object"}}
        case "json_schema":
            fields = ("name", "description", "schema", "strict")
            schema = {name: wanted[name] for name in fields if wanted.get(name) is not None}
            return {"response_format": {"type": "json_schema", "json_schema": schema}}
        case _:
            raise RequestRefusedError("text.format.type", "must be one of json_object, json_schema, text")


def _effort(body: Mapping[str, Any]) -> dict[str, Any]:
    reasoning = reading.mapping(body.get("reasoning") or {}, "reasoning")
    # A summary is never made: what the model thought stands in the answer whole.
    reading.known_keys(reasoning, "reasoning", {"effort", "summary", "generate_summary"})
    effort = reasoning.get("effort")
    return {} if effort is None else {"reasoning_effort": reading.text(effort, "reasoning.effort")}
