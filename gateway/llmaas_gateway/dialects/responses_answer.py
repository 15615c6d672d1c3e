"""An answer as OpenAI's Responses API tells it, whole or as the events of a stream."""

import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from llmaas_gateway.dialects.blocks import Answer, Block, BlockStream, Tokens, event

# Why an answer is not whole, by the reason that chat completions give.
_INCOMPLETE: Final = {"length": "max_output_tokens", "content_filter": "content_filter"}


def _usage(tokens: Tokens) -> dict[str, Any]:
    """Its field for system tokens is ours, named as in chat completions."""
    system = {} if tokens.system is None else {"system_tokens": tokens.system}
    return {
        "input_tokens": tokens.prompt,
        "input_tokens_details": {"cached_tokens": tokens.cached, "cache_write_tokens": 0, **system},
        "output_tokens": tokens.output,
        "output_tokens_details": {"reasoning_tokens": tokens.reasoning},
        "total_tokens": tokens.prompt + tokens.output,
    }


def _part(block: Block, text: str) -> dict[str, Any]:
    if block.kind == "reasoning":
        return {"type": "reasoning_text", "text": text}
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _item(block: Block, *, whole: bool = True, status: str = "completed") -> dict[str, Any]:
    """An item of the output; one that has only begun has nothing in it."""
    state = status if whole else "in_progress"
    parts = [_part(block, block.text)] if whole else []
    match block.kind:
        case "reasoning":
            return {"id": f"rs_{block.identity}", "type": "reasoning", "summary": [], "content": parts, "status": state}
        case "text":
            message = {"type": "message", "role": "assistant", "content": parts, "status": state}
            return {"id": f"msg_{block.identity}", **message}
        case "tool":
            call = {"type": "function_call", "call_id": block.call, "name": block.name, "status": state}
            return {"id": f"fc_{block.identity}", **call, "arguments": block.text if whole else ""}


def _frame(body: Mapping[str, Any], identity: str, model: str, created: int) -> dict[str, Any]:
    """What a response has from its beginning: mostly what was asked for."""
    reasoning = body.get("reasoning") or {}
    return {
        "id": f"resp_{identity}",
        "object": "response",
        "created_at": created,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "metadata": {},
        "model": model,
        "output": [],
        "parallel_tool_calls": body.get("parallel_tool_calls", True),
        "previous_response_id": None,
        "reasoning": {"effort": reasoning.get("effort"), "summary": None},
        "store": False,
        "temperature": body.get("temperature"),
        "text": body.get("text") or {"format": {"type": "text"}},
        "tool_choice": body.get("tool_choice") or "auto",
        "tools": body.get("tools") or [],
        "top_p": body.get("top_p"),
        "truncation": "disabled",
        "usage": None,
        "user": None,
    }


def _complete(frame: Mapping[str, Any], answer: Answer) -> dict[str, Any]:
    reason = _INCOMPLETE.get(answer.finish)
    status = "incomplete" if reason else "completed"
    last = len(answer.blocks) - 1
    output = [_item(block, status=status if block.index == last else "completed") for block in answer.blocks]
    details = {"reason": reason} if reason else None
    return {
        **frame, "model": answer.model, "status": status, "incomplete_details": details, "output": output,
        "usage": _usage(answer.tokens),
    }  # fmt: skip


def response(body: Mapping[str, Any], answer: Answer) -> dict[str, Any]:
    """A whole response to what was asked."""
    return _complete(_frame(body, answer.identity, answer.model, int(time.time())), answer)


class ResponseStream(BlockStream):
    """The events of a streamed response."""

    def __init__(self, identity: str, body: Mapping[str, Any]) -> None:
        """Takes the call's identity and what was asked."""
        super().__init__(identity)
        self._body = body
        self._created = int(time.time())
        self._number = -1

    def _event(self, kind: str, **fields: Any) -> bytes:
        self._number += 1
        return event({"type": kind, "sequence_number": self._number, **fields})

    def _frame(self) -> dict[str, Any]:
        return _frame(self._body, self.identity, self.model, self._created)

    def begun(self, tokens: Tokens) -> Iterator[bytes]:  # noqa: ARG002
        """The response exists."""
        yield self._event("response.created", response=self._frame())
        yield self._event("response.in_progress", response=self._frame())

    def started(self, block: Block) -> Iterator[bytes]:
        """An item, and its only part."""
        item = _item(block, whole=False)
        yield self._event("response.output_item.added", output_index=block.index, item=item)
        if block.kind != "tool":
            yield self._event("response.content_part.added", **self._place(block), part=_part(block, ""))

    @staticmethod
    def _place(block: Block) -> dict[str, Any]:
        place = {"item_id": _item(block)["id"], "output_index": block.index}
        return place if block.kind == "tool" else {**place, "content_index": 0}

    def grew(self, block: Block, text: str) -> Iterator[bytes]:
        """More of an item."""
        match block.kind:
            case "reasoning":
                yield self._event("response.reasoning_text.delta", **self._place(block), delta=text)
            case "text":
                yield self._event("response.output_text.delta", **self._place(block), delta=text, logprobs=[])
            case "tool":
                yield self._event("response.function_call_arguments.delta", **self._place(block), delta=text)

    def closed(self, block: Block) -> Iterator[bytes]:
        """An item is whole."""
        place = self._place(block)
        match block.kind:
            case "reasoning":
                yield self._event("response.reasoning_text.done", **place, text=block.text)
            case "text":
                yield self._event("response.output_text.done", **place, text=block.text, logprobs=[])
            case "tool":
                done = {"name": block.name, "arguments": block.text}
                yield self._event("response.function_call_arguments.done", **place, **done)
        if block.kind != "tool":
            yield self._event("response.content_part.done", **place, part=_part(block, block.text))
        yield self._event("response.output_item.done", output_index=block.index, item=_item(block))

    def ended(self, tokens: Tokens) -> Iterator[bytes]:
        """The response is whole."""
        whole = _complete(self._frame(), self.answer(tokens))
        yield self._event(f"response.{whole['status']}", response=whole)

    def failed(self, status: int, error: Mapping[str, Any]) -> Iterator[bytes]:  # noqa: ARG002
        """The response breaks off; what came of it stands in it."""
        told = {"code": "server_error", "message": str(error.get("message") or "The answer broke off.")}
        output = [_item(block, status="incomplete") for block in self.blocks]
        broken = {**self._frame(), "status": "failed", "error": told, "output": output}
        yield self._event("response.failed", response=broken)
