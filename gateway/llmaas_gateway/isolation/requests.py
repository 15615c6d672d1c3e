"""A client's request made safe before it reaches a model: known fields only, within bounds, with the tenant's own salt.

The list of allowed fields is the whole of what passes. Anything else is either dropped in silence, because clients
send it in good faith and it is ours to set (who they are, how urgent they are, which cache they share), or refused with
a clear error, because passing it would do something the tenant did not buy.
"""

import base64
import functools
import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

# Ours to set: dropped wherever a client sends them.
OURS: Final = frozenset(
    {
        "api_base",
        "api_key",
        "base_url",
        "cache",
        "cache_salt",
        "caching",
        "customer_id",
        "disable_fallbacks",
        "end_user",
        "fallbacks",
        "guardrails",
        "litellm_metadata",
        "litellm_params",
        "metadata",
        "mock_response",
        "num_retries",
        "priority",
        "proxy_server_request",
        "request_id",
        "routing",
        "safety_identifier",
        "service_tier",
        "specific_deployment",
        "store",
        "tags",
        "tenant",
        "timeout",
        "user",
        "user_config",
    }
)

_COMMON: Final = frozenset(
    {
        "frequency_penalty",
        "logit_bias",
        "logprobs",
        "max_tokens",
        "min_tokens",
        "model",
        "n",
        "presence_penalty",
        "repetition_penalty",
        "seed",
        "stop",
        "stream",
        "stream_options",
        "temperature",
        "top_k",
        "top_p",
        "min_p",
    }
)
ALLOWED: Final[dict[str, frozenset[str]]] = {
    "chat": _COMMON
    | {
        "chat_template_kwargs",
        "max_completion_tokens",
        "messages",
        "parallel_tool_calls",
        "reasoning_effort",
        "response_format",
        "tool_choice",
        "tools",
        "top_logprobs",
    },
    "completion": _COMMON | {"best_of", "echo", "prompt", "suffix"},
    "embedding": frozenset({"dimensions", "encoding_format", "input", "model"}),
}


# Where the text of a request stands whose media and tools must be looked at.
_CONTENT: Final = ("messages", "prompt", "input")
_MEDIA_FIELDS: Final = frozenset({"audio_url", "file_data", "file_id", "file_url", "image_url", "url", "video_url"})


class RequestRefusedError(ValueError):
    """A request that is not passed on; ``parameter`` names the field as OpenAI's error object does."""

    def __init__(self, parameter: str, message: str) -> None:
        """Takes the field and a sentence for the client."""
        super().__init__(f"{parameter}: {message}")
        self.parameter = parameter
        self.reason = message


@dataclass(frozen=True, slots=True)
class Bounds:
    """The most a request may ask for.

    Attributes:
        context_tokens: of the model.
        choices: the most that ``n`` and ``best_of`` may be.
        body_bytes: of the JSON request.
    """

    context_tokens: int
    choices: int = 4
    body_bytes: int = 4 * 1024 * 1024


@functools.lru_cache(maxsize=4096)
def cache_salt(secret: bytes, tenant: str, month: str) -> str:
    """The salt of a tenant's prefix cache: letters and digits, 32 of them, not to be guessed without the secret.

    Two tenants never share it, so that neither can tell from a fast answer what the other has asked. It is another one
    each month, so that one that became known is of use for the rest of the month only.

    Args:
        secret: the platform's own.
        tenant: its identifier.
        month: such as ``2026-11``.
    """
    digest = hmac.new(secret, f"cache-salt:{month}:{tenant}".encode(), hashlib.sha256).digest()
    return base64.b32encode(digest).decode().rstrip("=").lower()[:32]


def _remote_media(value: Any, path: str) -> Iterator[str]:
    """Paths of media that the server would fetch from somewhere."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key in _MEDIA_FIELDS and isinstance(item, str):
                if not item.startswith("data:"):
                    yield f"{path}.{key}"
            else:
                yield from _remote_media(item, f"{path}.{key}")
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _remote_media(item, f"{path}[{index}]")


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _half_pairs(value: Any, path: str) -> Iterator[str]:
    """Paths of texts and names that hold half of a surrogate pair, which JSON can write and UTF-8 cannot."""
    if isinstance(value, str):
        if not _is_text(value):
            yield path
    elif isinstance(value, Mapping):
        for key, item in value.items():
            name = key.encode("utf-8", "backslashreplace").decode()
            place = f"{path}.{name}" if path else name
            if name != key:
                yield place
            yield from _half_pairs(item, place)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _half_pairs(item, f"{path}[{index}]")


def _only_characters(body: Mapping[str, Any]) -> None:
    """No tokenizer takes anything else, nor does the model's server."""
    # Nearly every request holds, which one pass in C tells; only of the others the place is looked for.
    if _is_text(json.dumps(body, ensure_ascii=False)):
        return
    for path in _half_pairs(body, ""):
        reason = r"holds half of a surrogate pair (\ud800 to \udfff), which is no character; send both halves or none"
        raise RequestRefusedError(path, reason)


def _whole_number(body: Mapping[str, Any], name: str, least: int, most: int) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise RequestRefusedError(name, f"must be a whole number from {least} to {most}, not {value!r}")
    return value


def _texts_or_tokens(body: Mapping[str, Any], name: str) -> None:
    """A prompt of another type ends as an error inside the proxy, not as the client's mistake."""
    value = body.get(name)
    if value is None or isinstance(value, str):
        return
    items = value if isinstance(value, list) else []
    texts = all(isinstance(item, str) for item in items)
    tokens = all(type(item) is int for item in items)
    lists = all(isinstance(item, list) and all(type(token) is int for token in item) for item in items)
    if not items or not (texts or tokens or lists):
        raise RequestRefusedError(name, "must be a text, a list of texts, a list of tokens or a list of such lists")


def _only_functions(tools: Any) -> None:
    """A tool of another type would make the proxy itself search or call somewhere in the client's name."""
    if tools is None:
        return
    if not isinstance(tools, list):
        raise RequestRefusedError("tools", "must be a list")
    for index, tool in enumerate(tools):
        if not isinstance(tool, Mapping) or tool.get("type") != "function":
            raise RequestRefusedError(f"tools[{index}]", 'only tools of the type "function" are served here')


def sanitise(kind: str, body: Mapping[str, Any], bounds: Bounds) -> dict[str, Any]:
    """The request that is passed on; the salt of the tenant's cache is added when the tenant is known.

    Args:
        kind: ``chat``, ``completion`` or ``embedding``.
        body: as the client sent it.
        bounds: of the model and the tenant.

    Raises:
        RequestRefusedError: an unknown kind or field, a value out of bounds, a text that is none, or media that would
            have to be fetched.
    """
    if kind not in ALLOWED:
        raise RequestRefusedError("endpoint", f"{kind!r} is not served here")
    _only_characters(body)
    unknown = sorted(set(body) - ALLOWED[kind] - OURS - {"extra_body"})
    if unknown:
        raise RequestRefusedError(unknown[0], "is not a parameter of this endpoint here")
    extra = body.get("extra_body") or {}
    if not isinstance(extra, Mapping) or set(extra) - ALLOWED[kind] - OURS:
        raise RequestRefusedError("extra_body", "may only hold parameters of this endpoint")
    passed = {name: value for name, value in {**body, **extra}.items() if name in ALLOWED[kind]}
    for name in ("n", "best_of"):
        _whole_number(passed, name, 1, bounds.choices)
    for name in ("max_tokens", "max_completion_tokens", "min_tokens"):
        _whole_number(passed, name, 0 if name == "min_tokens" else 1, bounds.context_tokens)
    for name in _CONTENT:
        for path in _remote_media(passed.get(name), name):
            raise RequestRefusedError(path, "media must be sent inline as a data: URL; nothing is fetched for a client")
    for name in ("prompt", "input"):
        _texts_or_tokens(passed, name)
    _only_functions(passed.get("tools"))
    return passed


def prompts(body: Mapping[str, Any]) -> int:
    """How many prompts a request holds: a list of texts, or of lists of tokens, is answered one by one."""
    for name in ("prompt", "input"):
        value = body.get(name)
        if isinstance(value, list) and value and not isinstance(value[0], int):
            return len(value)
    return 1


def most_output_tokens(body: Mapping[str, Any], bounds: Bounds, least_input_tokens: int) -> int:
    """The most tokens that a request can be answered with: what it asks for, or what the context leaves, per choice.

    Args:
        body: after ``sanitise``.
        bounds: of the model.
        least_input_tokens: what each prompt has at least; an upper bound here would promise too little output.
    """
    asked = body.get("max_completion_tokens") or body.get("max_tokens")
    left = max(0, bounds.context_tokens - least_input_tokens)
    choices = max(body.get("n") or 1, body.get("best_of") or 1)
    return min(asked or left, left) * choices * prompts(body)
