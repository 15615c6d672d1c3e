"""How many tokens a prompt has: an upper bound for what is reserved, a lower one for what the context leaves."""

import contextlib
import functools
import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from llmaas_gateway.isolation.requests import prompts
from llmaas_gateway.proxy.settings import ServedModel, SettingsError
from llmaas_gateway.proxy.written import written_bytes

Count = Callable[[str], int]
# A file, and the SHA-256 that it must have, if one is declared.
Load = Callable[[Path, str | None], Count]

# OpenAI's newer models call it "developer".
_SYSTEM_ROLES: Final = ("system", "developer")

# What these say every template writes.
_WRITTEN_ROLES: Final = ("system", "user")

# Llama's templates call it "ipython".
_TOOL_ROLES: Final = ("tool", "ipython")

# A request with more for each token of its context is not counted, which takes seconds: the model will hardly take it,
# and the bounds hold if it does. Prose has four or five.
_MOST_CHARACTERS_A_TOKEN: Final = 8

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class InputTokens:
    """Bounds of a request's input, over all its prompts.

    Attributes:
        most: never below the real count.
        least_a_prompt: never above the real count of any one prompt.
        system: of what its system messages say, exactly; 0 where no tokenizer counts them.
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


def _characters(value: Any) -> int:
    return sum(map(len, _texts(value)))


def _has_media(value: Any) -> bool:
    if isinstance(value, Mapping):
        kind = value.get("type")
        return (isinstance(kind, str) and kind not in {"text", "function"}) or any(map(_has_media, value.values()))
    return isinstance(value, (list, tuple)) and any(map(_has_media, value))


class InputCounter:
    """Counts with the model's tokenizer where there is one, else by bytes, which no byte-level tokenizer exceeds."""

    def __init__(self, models: Sequence[ServedModel], load: Load) -> None:
        """Takes the models and what makes a counter of a ``tokenizer.json``; a shared one is made once.

        Raises:
            SettingsError: tokenizers that cannot be used, each with its model.
        """
        made: dict[tuple[Path, str | None], Count] = {}
        self._counts: dict[str, Count] = {}
        problems = []
        for model in models:
            if model.tokenizer is None:
                continue
            wanted = (model.tokenizer, model.tokenizer_sha256)
            try:
                if wanted not in made:
                    made[wanted] = load(*wanted)
                self._counts[model.name] = made[wanted]
            except SettingsError as error:
                problems.append(f"models: {model.name}: tokenizer: {error}")
        if problems:
            raise SettingsError("\n".join(problems))

    def count(self, model: ServedModel, body: Mapping[str, Any]) -> InputTokens:
        """Bounds of the input of a sanitised request."""
        number = prompts(body)
        context = model.context_tokens * number
        messages = body.get("messages")
        value = [body.get(name) for name in ("prompt", "suffix", "input") if body.get(name) is not None]
        has_media = isinstance(messages, list) and _has_media(messages)
        counted = _of_system(messages) if has_media else [messages, value]
        known = self._counts.get(model.name)
        if known is not None and _characters(counted) > _MOST_CHARACTERS_A_TOKEN * context:
            return InputTokens(context, 1)
        # Each text is asked for up to three times.
        count = None if known is None else functools.cache(known)
        if isinstance(messages, list):
            extra = model.template_tokens + model.message_tokens * len(messages)
            extra += _bytes_of_arguments(messages, context) + (_quoted_tokens(count, messages) if count else 0)
            # Arguments of tools and options of the template are written into the prompt, in a form that is the model's.
            added = [body[name] for name in ("tools", "chat_template_kwargs") if body.get(name)]
            system = _system_tokens(count, messages)
            if has_media:
                return InputTokens(context, 1, system)
            extra += sum(written_bytes(each, context) for each in added)
            bounds = _bounds(count, model, messages, extra, number)
            return replace(bounds, system=system)
        return _bounds(count, model, value, 8 * number, number)

    def at_least(self, model: str, texts: Sequence[str]) -> int:
        """Tokens of what a model said; without its tokenizer one for each text."""
        count = self._counts.get(model)
        return len(texts) if count is None else sum(map(count, texts))


def _system_tokens(count: Count | None, messages: Sequence[Any]) -> int:
    if count is None:
        return 0
    return sum(count(text) for message in _of_system(messages) for text in _said(message.get("content")))


def _of_system(messages: Any) -> Sequence[Mapping[str, Any]]:
    return [message for message in _objects(messages) if message.get("role") in _SYSTEM_ROLES]


def _bounds(count: Count | None, model: ServedModel, value: Any, extra: int, number: int) -> InputTokens:
    context = model.context_tokens * number
    if count is None:
        return InputTokens(min(context, written_bytes(value, context) + extra), 1)
    numbers = sum(1 for _ in _numbers(value))
    texts = sum(count(text) for text in _texts(value))
    least = 1 if number > 1 else max(1, sum(count(text) for text in _contents(value)))
    return InputTokens(min(context, texts + numbers + extra), min(model.context_tokens, least))


def _bytes_of_arguments(messages: Sequence[Any], most: int) -> int:
    """Of the calls that an assistant made: templates write their arguments anew, with blanks that clients leave out."""
    calls = (call for message in _objects(messages) for call in _objects(message.get("tool_calls")))
    functions = (call.get("function") for call in calls)
    written = 0
    for function in functions:
        arguments = function.get("arguments") if isinstance(function, Mapping) else None
        if isinstance(arguments, str):
            # What is no JSON is written as it is, and counted as such.
            with contextlib.suppress(ValueError, RecursionError):
                written += written_bytes(json.loads(arguments), most)
    return written


def _quoted_tokens(count: Count, messages: Sequence[Any]) -> int:
    """What results of tools have more as JSON than as they are: templates such as Llama's write even texts so."""
    more = 0
    for message in _objects(messages):
        if message.get("role") in _TOOL_ROLES and (content := message.get("content")):
            plain = sum(count(text) for text in _said(content))
            more += max(0, count(json.dumps(content, ensure_ascii=False)) - plain)
    return more


def _objects(value: Any) -> Sequence[Mapping[str, Any]]:
    """The objects of a list; whatever else a client sends is the model's to refuse."""
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _said(content: Any) -> Iterator[str]:
    """The texts of a message's content, which is one or a list of parts."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        yield from (part["text"] for part in _objects(content) if isinstance(part.get("text"), str))


def _numbers(value: Any) -> Iterator[int]:
    """Tokens that were sent as such."""
    if isinstance(value, int):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _numbers(item)


def _contents(value: Any) -> Iterator[str]:
    """Texts that surely stand in the prompt: a prompt itself, and those of messages, which many templates trim.

    Of what an assistant said templates leave out what it thought, or all of it beside its calls; roles that they do not
    know they may leave out altogether.
    """
    for item in value:
        if isinstance(item, str):
            yield item
        elif isinstance(item, Mapping) and item.get("role") in _WRITTEN_ROLES and isinstance(item.get("content"), str):
            yield item["content"].strip()


def tokenizer(path: Path, sha256: str | None) -> Count:
    """A counter from a ``tokenizer.json``; special tokens in a text count as one, as they do in the model.

    Raises:
        SettingsError: the file cannot be read, is another than the declared one, or holds no tokenizer.
    """
    from tokenizers import Tokenizer  # noqa: PLC0415 - only where LiteLLM is: it brings the package

    try:
        content = path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}; run the playbook models.yml") from None
    found = hashlib.sha256(content).hexdigest()
    if sha256 not in {None, found}:
        raise SettingsError(f"{path}: SHA-256 is {found}, declared {sha256}; run models.yml, then pulumi up")
    try:
        encoder = Tokenizer.from_buffer(content)
    except Exception as error:  # noqa: BLE001 - it raises nothing more special
        raise SettingsError(f"{path}: is no tokenizer: {error}") from None
    # Some files cut or fill up what they encode, for the batches of a training.
    encoder.no_truncation()
    encoder.no_padding()
    _log.info("tokens are counted with %s", path)
    # In a batch, though of one: a text by itself is encoded without letting any other thread of the process run.
    return lambda text: len(encoder.encode_batch_fast([text], add_special_tokens=False)[0].ids)
