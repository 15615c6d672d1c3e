"""An answer as Anthropic's Messages API tells it, whole or as the events of a stream."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from llmaas_gateway.dialects.blocks import Answer, AnswerError, Block, BlockStream, Tokens, event

_REASONS: Final = {
    "content_filter": "refusal",
    "function_call": "tool_use",
    "length": "max_tokens",
    "stop": "end_turn",
    "tool_calls": "tool_use",
}
_ERRORS: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


def error_of(status: int, error: Mapping[str, Any], identity: str) -> dict[str, Any]:
    """Anthropic's error object; a code of ours that its types do not tell is kept beside them."""
    kind = _ERRORS.get(status, "invalid_request_error" if status < 500 else "api_error")
    told = {"type": kind, "message": str(error.get("message") or kind)}
    if code := error.get("code"):
        told["code"] = str(code)
    return {"type": "error", "error": told, "request_id": identity}


def _usage(tokens: Tokens) -> dict[str, Any]:
    """In this API the cached tokens are no part of the input's, and those of system messages have no place but ours."""
    system = {} if tokens.system is None else {"system_tokens": tokens.system}
    return {
        "input_tokens": tokens.prompt - tokens.cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": tokens.cached,
        "output_tokens": tokens.output,
        "output_tokens_details": {"thinking_tokens": tokens.reasoning},
        **system,
    }


def _reason(answer: Answer) -> dict[str, Any]:
    if answer.stop is not None:
        return {"stop_reason": "stop_sequence", "stop_sequence": answer.stop}
    return {"stop_reason": _REASONS.get(answer.finish, "end_turn"), "stop_sequence": None}


def _arguments(text: str) -> dict[str, Any]:
    try:
        arguments = json.loads(text or "{}")
    except ValueError:
        arguments = None
    if not isinstance(arguments, dict):
        raise AnswerError("a tool is called with arguments that are no JSON object")
    return arguments


def _block(block: Block, *, whole: bool = True) -> dict[str, Any]:
    """A block of content; one that has only begun has nothing in it."""
    match block.kind:
        case "reasoning":
            # It needs no signature: what is sent back of it is left out.
            return {"type": "thinking", "thinking": block.text if whole else "", "signature": ""}
        case "text":
            return {"type": "text", "text": block.text if whole else ""}
        case "tool":
            arguments = _arguments(block.text) if whole else {}
            return {"type": "tool_use", "id": block.call, "name": block.name, "input": arguments}


def message(answer: Answer) -> dict[str, Any]:
    """A whole message."""
    return {
        "id": f"msg_{answer.identity}",
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": [_block(block) for block in answer.blocks],
        **_reason(answer),
        "usage": _usage(answer.tokens),
    }


class MessageStream(BlockStream):
    """The events of a streamed message."""

    def begun(self, tokens: Tokens) -> Iterator[bytes]:
        """The message exists; what it has generated is told at its end."""
        empty = message(Answer(self.identity, self.model, [], "stop", None, Tokens(tokens.prompt, tokens.cached)))
        yield event({"type": "message_start", "message": {**empty, "stop_reason": None}})

    def started(self, block: Block) -> Iterator[bytes]:
        """A block of content."""
        content = _block(block, whole=False)
        yield event({"type": "content_block_start", "index": block.index, "content_block": content})

    def grew(self, block: Block, text: str) -> Iterator[bytes]:
        """More of a block."""
        names = {
            "reasoning": ("thinking_delta", "thinking"),
            "text": ("text_delta", "text"),
            "tool": ("input_json_delta", "partial_json"),
        }
        kind, name = names[block.kind]
        yield event({"type": "content_block_delta", "index": block.index, "delta": {"type": kind, name: text}})

    def closed(self, block: Block) -> Iterator[bytes]:
        """A block is whole."""
        yield event({"type": "content_block_stop", "index": block.index})

    def ended(self, tokens: Tokens) -> Iterator[bytes]:
        """The message is whole."""
        yield event({"type": "message_delta", "delta": _reason(self.answer(tokens)), "usage": _usage(tokens)})
        yield event({"type": "message_stop"})

    def failed(self, status: int, error: Mapping[str, Any]) -> Iterator[bytes]:
        """The message breaks off."""
        yield event(error_of(status, error, self.identity))
