"""How many tokens a prompt has: an upper bound for what is reserved, a lower one for what the context leaves."""

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from llmaas_gateway.isolation.requests import prompts
from llmaas_gateway.proxy.settings import ServedModel

Count = Callable[[str], int]

# OpenAI's newer models call it "developer".
_SYSTEM_ROLES: Final = frozenset({"system", "developer"})

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class InputTokens:
    """Bounds of a request's input, over all its prompts.

    Attributes:
        most: never below the real count.
        least_a_prompt: never above the real count of any one prompt.
        system: of what its system messages say, exactly; 0 where there is no tokenizer to count them.
    """

    most: int
    least_a_prompt: int
    system: int = 0


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield str(name)
            yield from _texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)


def _written_bytes(value: Any) -> int:
    """Bytes of a value as JSON with every blank that a chat template may add."""
    return len(json.dumps(value, indent=4, ensure_ascii=False).encode("utf-8", "surrogatepass"))


def _has_media(value: Any) -> bool:
    if isinstance(value, Mapping):
        kind = value.get("type")
        return (isinstance(kind, str) and kind not in {"text", "function"}) or any(map(_has_media, value.values()))
    return isinstance(value, (list, tuple)) and any(map(_has_media, value))


class InputCounter:
    """Counts with the model's tokenizer where there is one, else by bytes, which no byte-level tokenizer exceeds."""

    def __init__(self, models: Sequence[ServedModel], load: Callable[[str], Count]) -> None:
        """Takes the models and what makes a counter of a ``tokenizer.json``."""
        self._counts = {model.name: load(str(model.tokenizer)) for model in models if model.tokenizer is not None}

    def count(self, model: ServedModel, body: Mapping[str, Any]) -> InputTokens:
        """Bounds of the input of a sanitised request."""
        number = prompts(body)
        context = model.context_tokens * number
        messages = body.get("messages")
        if isinstance(messages, list):
            extra = model.template_tokens + model.message_tokens * len(messages)
            # Arguments of tools and options of the template are written into the prompt, in a form that is the model's.
            added = [body[name] for name in ("tools", "chat_template_kwargs") if body.get(name)]
            system = self._system(model, messages)
            if _has_media(messages):
                return InputTokens(context, 1, system)
            bounds = self._bounds(model, messages, extra + sum(map(_written_bytes, added)), number)
            return replace(bounds, system=system)
        value = [body.get(name) for name in ("prompt", "suffix", "input") if body.get(name) is not None]
        return self._bounds(model, value, 8 * number, number)

    def _system(self, model: ServedModel, messages: Sequence[Any]) -> int:
        count = self._counts.get(model.name)
        if count is None:
            return 0
        said = [message["content"] for message in messages if message.get("role") in _SYSTEM_ROLES]
        return sum(count(text) for content in said for text in _said(content))

    def _bounds(self, model: ServedModel, value: Any, extra: int, number: int) -> InputTokens:
        count = self._counts.get(model.name)
        context = model.context_tokens * number
        if count is None:
            return InputTokens(min(context, _written_bytes(value) + extra), 1)
        numbers = sum(1 for _ in _numbers(value))
        texts = sum(count(text) for text in _texts(value))
        least = 1 if number > 1 else max(1, sum(count(text) for text in _contents(value)))
        return InputTokens(min(context, texts + numbers + extra), min(model.context_tokens, least))


def _said(content: Any) -> Iterator[str]:
    """The texts of a message's content, which is one or a list of parts."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        yield from (part["text"] for part in content if isinstance(part.get("text"), str))


def _numbers(value: Any) -> Iterator[int]:
    """Tokens that were sent as such."""
    if isinstance(value, int):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _numbers(item)


def _contents(value: Any) -> Iterator[str]:
    """Texts that surely stand in the prompt: those of messages, and a prompt itself."""
    for item in value:
        if isinstance(item, str):
            yield item
        elif isinstance(item, Mapping) and isinstance(item.get("content"), str):
            yield item["content"]


def tokenizer(path: str) -> Count:
    """A counter from a ``tokenizer.json``; special tokens in a text count as one, as they do in the model.

    Raises:
        OSError: the file cannot be read.
    """
    from tokenizers import Tokenizer  # noqa: PLC0415 - only where LiteLLM is: it brings the package

    with open(path, encoding="utf-8") as file:  # noqa: PTH123 - an error of the file must be an OSError
        encoder = Tokenizer.from_str(file.read())
    _log.info("tokens are counted with %s", path)
    return lambda text: len(encoder.encode(text, add_special_tokens=False).ids)
