"""An answer as blocks: reasoning, text and calls of tools, one after the other, whole or growing in a stream."""

import json
import uuid
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["reasoning", "text", "tool"]


class AnswerError(ValueError):
    """A model's answer that cannot be told in another API's words."""


@dataclass(slots=True)
class Block:
    """A part of an answer.

    Attributes:
        index: its place in the answer.
        text: what it says; of a tool's call, the arguments as JSON text.
        call: the id of a tool's call.
        name: of the tool.
        identity: unique, for APIs that name their parts.
    """

    kind: Kind
    index: int
    text: str = ""
    call: str = ""
    name: str = ""
    identity: str = field(default_factory=lambda: uuid.uuid4().hex)


@dataclass(frozen=True, slots=True)
class Tokens:
    """The usage of an answer; the parts are contained in their wholes.

    Attributes:
        prompt: all tokens of it.
        cached: of the prompt, those of its beginning that were in the cache.
        output: all that was generated.
        reasoning: of the output.
        system: of the prompt that was not cached, those of system messages; None where they are not told apart.
    """

    prompt: int = 0
    cached: int = 0
    output: int = 0
    reasoning: int = 0
    system: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer.

    Attributes:
        identity: of the call.
        finish: why it ended, in the words of chat completions.
        stop: the text that ended it, where the model's server tells.
    """

    identity: str
    model: str
    blocks: Sequence[Block]
    finish: str
    stop: str | None
    tokens: Tokens


def tokens_of(usage: Any) -> Tokens:
    """The usage of a chat completion; zeros where none is told."""
    if not isinstance(usage, Mapping):
        return Tokens()
    prompt, output = usage.get("prompt_tokens_details") or {}, usage.get("completion_tokens_details") or {}
    system = prompt.get("system_tokens")
    return Tokens(
        prompt=int(usage.get("prompt_tokens") or 0),
        cached=int(prompt.get("cached_tokens") or 0),
        output=int(usage.get("completion_tokens") or 0),
        reasoning=int(output.get("reasoning_tokens") or 0),
        system=None if system is None else int(system),
    )


def _reasoning(message: Mapping[str, Any]) -> str:
    return str(message.get("reasoning_content") or message.get("reasoning") or "")


def _stop(choice: Mapping[str, Any]) -> str | None:
    """The text at which vLLM stopped; for a token it tells a number, which says nothing to a client."""
    for holder in (choice, choice.get("provider_specific_fields") or {}):
        if isinstance(stop := holder.get("stop_reason"), str):
            return stop
    return None


def answer_of(body: bytes, identity: str, usage: Any) -> Answer:
    """A chat completion's answer, with ``usage`` in place of the one that stands in it.

    Raises:
        AnswerError: it is none.
    """
    try:
        content = json.loads(body)
        choice = content["choices"][0]
        message = choice["message"]
        blocks: list[Block] = []
        if text := _reasoning(message):
            blocks.append(Block("reasoning", 0, text))
        if text := message.get("content"):
            blocks.append(Block("text", len(blocks), text))
        for call in message.get("tool_calls") or []:
            function = call["function"]
            blocks.append(Block("tool", len(blocks), function["arguments"] or "{}", call["id"], function["name"]))
        finish = choice.get("finish_reason") or "stop"
        return Answer(identity, str(content["model"]), blocks, finish, _stop(choice), tokens_of(usage))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise AnswerError(f"not a chat completion: {type(error).__name__}") from None


class BlockStream(ABC):
    """Tells the pieces of a streamed chat completion as blocks that begin, grow and end."""

    def __init__(self, identity: str) -> None:
        """Takes the call's identity."""
        self.identity = identity
        self.model = ""
        self.blocks: list[Block] = []
        self._open: Block | None = None
        self._calls: dict[int, Block] = {}
        self._finish = "stop"
        self._stop: str | None = None
        self._begun = False

    def answer(self, tokens: Tokens) -> Answer:
        """What has come so far."""
        return Answer(self.identity, self.model, self.blocks, self._finish, self._stop, tokens)

    def feed(self, data: bytes, tokens: Tokens) -> Iterator[bytes]:
        """The events that an event of a chat completion becomes.

        Args:
            data: of the event, JSON.
            tokens: as far as they are known.

        Raises:
            AnswerError: it is no event of a chat completion.
        """
        try:
            piece = json.loads(data)
            self.model = self.model or str(piece.get("model") or "")
            yield from self._begin_once(tokens)
            for choice in piece.get("choices") or []:
                yield from self._choice(choice)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise AnswerError(f"not a piece of a chat completion: {type(error).__name__}") from None

    def finish(self, tokens: Tokens) -> Iterator[bytes]:
        """The events of a whole stream's end."""
        yield from self._begin_once(tokens)
        yield from self._close()
        yield from self.ended(tokens)

    def _begin_once(self, tokens: Tokens) -> Iterator[bytes]:
        if not self._begun:
            self._begun = True
            yield from self.begun(tokens)

    def _choice(self, choice: Mapping[str, Any]) -> Iterator[bytes]:
        delta = choice.get("delta") or {}
        if thought := _reasoning(delta):
            yield from self._grow("reasoning", thought)
        if text := delta.get("content"):
            yield from self._grow("text", str(text))
        for call in delta.get("tool_calls") or []:
            yield from self._call(call)
        self._finish = choice.get("finish_reason") or self._finish
        self._stop = _stop(choice) or self._stop

    def _grow(self, kind: Kind, text: str) -> Iterator[bytes]:
        block = self._open
        if block is None or block.kind != kind:
            yield from self._close()
            block = yield from self._start(Block(kind, len(self.blocks)))
        block.text += text
        yield from self.grew(block, text)

    def _call(self, call: Mapping[str, Any]) -> Iterator[bytes]:
        function = call.get("function") or {}
        block = self._calls.get(call["index"])
        if block is None:
            yield from self._close()
            begun = Block("tool", len(self.blocks), call=str(call["id"]), name=str(function["name"]))
            block = self._calls[call["index"]] = yield from self._start(begun)
        elif block is not self._open:
            raise AnswerError("the call of a tool goes on after another one began")
        if text := function.get("arguments"):
            block.text += text
            yield from self.grew(block, text)

    def _start(self, block: Block) -> Generator[bytes, None, Block]:
        self._open = block
        self.blocks.append(block)
        yield from self.started(block)
        return block

    def _close(self) -> Iterator[bytes]:
        block, self._open = self._open, None
        if block is not None:
            yield from self.closed(block)

    @abstractmethod
    def begun(self, tokens: Tokens) -> Iterator[bytes]:
        """The answer begins."""

    @abstractmethod
    def started(self, block: Block) -> Iterator[bytes]:
        """A block begins."""

    @abstractmethod
    def grew(self, block: Block, text: str) -> Iterator[bytes]:
        """A block has more text; ``text`` is what was added."""

    @abstractmethod
    def closed(self, block: Block) -> Iterator[bytes]:
        """A block is whole."""

    @abstractmethod
    def ended(self, tokens: Tokens) -> Iterator[bytes]:
        """The answer is whole."""

    @abstractmethod
    def failed(self, status: int, error: Mapping[str, Any]) -> Iterator[bytes]:
        """The answer breaks off; ``error`` is OpenAI's."""


def event(content: Mapping[str, Any]) -> bytes:
    """An event of a stream, named by its ``type``."""
    return f"event: {content['type']}\ndata: {json.dumps(content, ensure_ascii=False)}\n\n".encode("utf-8", "replace")
