"""The usage of an answer, wherever it stands: in a JSON body, in a stream, in the words of either API."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from llmaas_gateway.charging import UsageError, usage_of
from llmaas_gateway.prices import Unit

DONE: Final = b"[DONE]"
_FIELD: Final = b'"usage"'


def normalised(usage: Any) -> Mapping[str, Any] | None:
    """A usage as OpenAI's chat API writes it; None where there is none."""
    if hasattr(usage, "model_dump"):
        usage = usage.model_dump()
    if not isinstance(usage, Mapping):
        return None
    if "prompt_tokens" in usage:
        return usage
    return None


def summed(by_choice: Mapping[int, Any], choices_a_prompt: int) -> Mapping[str, Any] | None:
    """The usage of a stream that broke off, from what each of its choices told last; None where none told any.

    vLLM tells with each piece the tokens of that choice and of its prompt; only its very last piece tells the sum.

    Args:
        by_choice: usages by the choice's index; of several prompts, those of the first have the lowest.
        choices_a_prompt: how many of them answer the same prompt, which is counted once.
    """
    choices = {index: usage for index, told in by_choice.items() if (usage := normalised(told)) is not None}
    if len(choices) <= 1:
        return next(iter(choices.values()), None)
    prompts = {index // choices_a_prompt: usage for index, usage in choices.items()}
    return {
        "prompt_tokens": _sum(prompts.values(), "prompt_tokens"),
        "completion_tokens": _sum(choices.values(), "completion_tokens"),
        "prompt_tokens_details": _sum_of_details(prompts.values(), "prompt_tokens_details", "cached_tokens"),
        "completion_tokens_details": _sum_of_details(choices.values(), "completion_tokens_details", "reasoning_tokens"),
    }


def _sum(usages: Iterable[Mapping[str, Any]], name: str) -> int:
    return sum(int(usage.get(name) or 0) for usage in usages)


def _sum_of_details(usages: Iterable[Mapping[str, Any]], whole: str, part: str) -> dict[str, int]:
    return {part: _sum((usage.get(whole) or {} for usage in usages), part)}


def usage_of_body(body: bytes) -> Mapping[str, Any] | None:
    """The usage of a JSON answer."""
    try:
        content = json.loads(body)
    except ValueError:
        return None
    return normalised(content.get("usage")) if isinstance(content, Mapping) else None


def is_object(body: bytes) -> bool:
    """Whether an answer is a JSON object, as every model's is."""
    try:
        return isinstance(json.loads(body), dict)
    except ValueError:
        return False


def texts_of_body(body: bytes) -> list[str]:
    """What a JSON answer says: of each choice its texts, thoughts and arguments of calls; none of embeddings."""
    content = json.loads(body)
    choices = content.get("choices") if isinstance(content, Mapping) else None
    said: list[Any] = []
    for choice in _objects(choices):
        message = choice.get("message")
        told = message if isinstance(message, Mapping) else choice
        said += [told.get(name) for name in ("content", "reasoning_content", "text")]
        for call in _objects(told.get("tool_calls")):
            function = call.get("function")
            said += [function.get(name) for name in ("name", "arguments")] if isinstance(function, Mapping) else []
    return [text for text in said if isinstance(text, str) and text]


def _objects(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def told_usage(usage: Mapping[str, Any] | None, system_tokens: int) -> Mapping[str, Any] | None:
    """A usage that tells the tokens of system messages apart, as they are charged.

    It is the same one where there are no such tokens, or where it could not be charged.
    """
    if usage is None or not system_tokens:
        return usage
    try:
        counted = usage_of(usage, system_tokens=system_tokens).counts.get(Unit.SYSTEM, 0)
    except UsageError:
        return usage
    details = {**(usage.get("prompt_tokens_details") or {}), "system_tokens": counted}
    return {**usage, "prompt_tokens_details": details}


def with_system_tokens(body: bytes, usage: Mapping[str, Any] | None, system_tokens: int) -> bytes:
    """A JSON answer with ``told_usage`` in place of ``usage``, the one that was read in it."""
    told = told_usage(usage, system_tokens)
    if told is usage:
        return body
    return json.dumps({**json.loads(body), "usage": told}, ensure_ascii=False).encode("utf-8", "surrogatepass")


class StreamReader:
    """Reads the events of a stream as they pass; an event may come in several pieces, or several in one."""

    def __init__(self) -> None:
        self._rest = b""

    def events(self, piece: bytes) -> Iterator[bytes]:
        """The data of every event that this piece completes."""
        self._rest += piece
        while True:
            event, found, rest = self._rest.partition(b"\n\n")
            if not found:
                return
            self._rest = rest
            for line in event.splitlines():
                if line.startswith(b"data:"):
                    yield line[5:].strip()


def usage_of_event(data: bytes) -> Mapping[str, Any] | None:
    """The usage that an event tells, if any."""
    return usage_of_body(data) if _FIELD in data else None


def is_error(data: bytes) -> bool:
    """Whether an event tells that the stream failed."""
    return data.startswith(b'{"error"')
