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
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from llmaas_gateway.isolation.places import half_pair, is_text, remote_media

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
# As many texts as OpenAI takes at once: each is answered by itself, and an answer is held whole until it is settled.
_MOST_TEXTS: Final = 2_048
# Of a client's own words, what an error repeats.
_SHOWN_CHARACTERS: Final = 300


def _shown(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"


class RequestRefusedError(ValueError):
    """A request that is not passed on; ``parameter`` names the field as OpenAI's error object does."""

    def __init__(self, parameter: str, message: str) -> None:
        """Takes the field and a sentence for the client; of what is longer than an error should be, the beginning."""
        self.parameter, self.reason = _shown(parameter), _shown(message)
        super().__init__(f"{self.parameter}: {self.reason}")


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


def _only_characters(body: Mapping[str, Any]) -> None:
    """No tokenizer takes anything else, nor does the model's server."""
    # Nearly every request holds, which one pass in C tells; only of the others the place is looked for.
    if not is_text(json.dumps(body, ensure_ascii=False)) and (place := half_pair(body)) is not None:
        reason = r"holds half of a surrogate pair (\ud800 to \udfff), which is no character; send both halves or none"
        raise RequestRefusedError(place, reason)


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
    if not tokens and len(items) > _MOST_TEXTS:
        raise RequestRefusedError(
            name, f"may hold {_MOST_TEXTS} texts at once, not {len(items)}; send several requests"
        )


def _only_objects(messages: Any) -> None:
    """A list of lists of messages would be answered as so many calls."""
    if messages is None:
        return
    if not isinstance(messages, list) or not all(isinstance(message, Mapping) for message in messages):
        raise RequestRefusedError("messages", "must be a list of objects, one for each message")


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
    # The model is the one that was looked at: by its name the call is bounded and priced.
    if not isinstance(extra, Mapping) or set(extra) - (ALLOWED[kind] - {"model"}) - OURS:
        raise RequestRefusedError("extra_body", "may only hold parameters of this endpoint, and no model")
    passed = {name: value for name, value in {**body, **extra}.items() if name in ALLOWED[kind]}
    for name in ("n", "best_of"):
        _whole_number(passed, name, 1, bounds.choices)
    for name in ("max_tokens", "max_completion_tokens", "min_tokens"):
        _whole_number(passed, name, 0 if name == "min_tokens" else 1, bounds.context_tokens)
    if (place := remote_media({name: passed[name] for name in _CONTENT if name in passed})) is not None:
        raise RequestRefusedError(place, "media must be sent inline as a data: URL; nothing is fetched for a client")
    for name in ("prompt", "input"):
        _texts_or_tokens(passed, name)
    _only_objects(passed.get("messages"))
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
