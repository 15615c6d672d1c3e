"""Reading a client's body field by field, each mistake named by its path."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from llmaas_gateway.isolation.requests import OURS, RequestRefusedError

# Parameters of the model that no other API has words for; clients add them to a body as they are.
SAMPLING: Final = frozenset(
    {"chat_template_kwargs", "frequency_penalty", "min_p", "presence_penalty", "repetition_penalty", "seed", "top_k"}
)
_NOTHING: Final[tuple[Any, ...]] = (None, False, [], {}, "")


def known_fields(body: Mapping[str, Any], allowed: Collection[str], refused: Mapping[str, str]) -> None:
    """Refuse what is on no list; a field on ``refused`` may stand there with nothing in it.

    Args:
        body: the client's.
        allowed: fields that are translated.
        refused: fields of the API that are not served, and why.

    Raises:
        RequestRefusedError: the first of them.
    """
    for name in sorted(refused.keys() & body.keys()):
        if body[name] not in _NOTHING:
            raise RequestRefusedError(name, refused[name])
    unknown = sorted(set(body) - set(allowed) - set(refused) - OURS)
    if unknown:
        raise RequestRefusedError(unknown[0], "is not a parameter of this endpoint here")


def known_keys(value: Mapping[str, Any], path: str, allowed: Collection[str]) -> None:
    """Refuse a part of a request with a field that is not translated and holds something."""
    for name in sorted(set(value) - set(allowed)):
        if value[name] not in _NOTHING:
            raise RequestRefusedError(f"{path}.{name}", "is not served here")


def text(value: Any, path: str) -> str:
    """A text."""
    if not isinstance(value, str):
        raise RequestRefusedError(path, "must be a text")
    return value


def mapping(value: Any, path: str) -> Mapping[str, Any]:
    """An object."""
    if not isinstance(value, Mapping):
        raise RequestRefusedError(path, "must be an object")
    return value


def entries(value: Any, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The objects of a list, each with its path."""
    if not isinstance(value, list):
        raise RequestRefusedError(path, "must be a list")
    for index, item in enumerate(value):
        yield f"{path}[{index}]", mapping(item, f"{path}[{index}]")


def texts(value: Any, path: str) -> list[str]:
    """A list of texts; none where there is nothing."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise RequestRefusedError(path, "must be a list")
    return [text(item, f"{path}[{index}]") for index, item in enumerate(value)]


def one_of(value: Any, path: str, allowed: Mapping[str, Any]) -> Any:
    """What a word stands for."""
    if not isinstance(value, str) or value not in allowed:
        raise RequestRefusedError(path, f"must be one of {', '.join(sorted(allowed))}")
    return allowed[value]


def image(url: str, path: str) -> dict[str, Any]:
    """A part of a chat message with a picture, which must have come along."""
    if not url.startswith("data:"):
        raise RequestRefusedError(path, "media must be sent inline as a data: URL; nothing is fetched for a client")
    return {"type": "image_url", "image_url": {"url": url}}


def content(parts: list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    """The content of a chat message: a plain text where it is nothing else, as templates like it best."""
    if all(part["type"] == "text" for part in parts):
        return "\n".join(part["text"] for part in parts)
    return parts


class Turns:
    """Messages of a chat; what an assistant said and called in one turn is one message."""

    def __init__(self) -> None:
        """Begins with none."""
        self.messages: list[dict[str, Any]] = []

    def add(self, role: str, parts: list[dict[str, Any]]) -> None:
        """A message of this role."""
        self.messages.append({"role": role, "content": content(parts)})

    def call(self, identity: str, name: str, arguments: str) -> None:
        """The assistant calls a tool."""
        if not self.messages or self.messages[-1]["role"] != "assistant":
            self.messages.append({"role": "assistant", "content": None})
        function = {"id": identity, "type": "function", "function": {"name": name, "arguments": arguments}}
        self.messages[-1].setdefault("tool_calls", []).append(function)

    def result(self, identity: str, parts: list[dict[str, Any]]) -> None:
        """What a tool answered."""
        self.messages.append({"role": "tool", "tool_call_id": identity, "content": content(parts)})
