"""Where in a request something stands that may not, found at a cost that grows with the request and no faster.

Anybody can send a request of some MiB. A place is put together only once something is found there: one text for each
element on the way would make a long name before many elements cost their product.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

# Schemas of tools have some twenty levels. Each level is written with four more blanks before each of its elements, and
# each is a call of its own in whatever reads the request after us.
MOST_LEVELS: Final = 64

_MEDIA_FIELDS: Final = frozenset({"audio_url", "file_data", "file_id", "file_url", "image_url", "url", "video_url"})

Key = str | int


def is_too_deep(body: Mapping[str, Any]) -> bool:
    """Whether lists and objects stand in one another over more levels than are read here."""
    level: list[Any] = [body]
    for _ in range(MOST_LEVELS):
        level = [
            part
            for each in level
            for part in (each.values() if isinstance(each, Mapping) else each)
            if isinstance(part, (Mapping, list, tuple))
        ]
        if not level:
            return False
    return True


def is_text(value: str) -> bool:
    """Whether it is without halves of surrogate pairs, which JSON can write and UTF-8 cannot."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def remote_media(fields: Mapping[str, Any]) -> str | None:
    """The first place with media that the server would fetch from somewhere."""
    return _place(fields, _would_be_fetched)


def half_pair(body: Mapping[str, Any]) -> str | None:
    """The first place with a text or a name that holds half of a surrogate pair."""
    return _place(body, _holds_half)


def _would_be_fetched(key: Key, item: Any) -> bool:
    return isinstance(item, str) and key in _MEDIA_FIELDS and not item.startswith("data:")


def _holds_half(key: Key, item: Any) -> bool:
    return any(isinstance(each, str) and not is_text(each) for each in (key, item))


def _place(value: Mapping[str, Any], wrong: Callable[[Key, Any], bool]) -> str | None:
    keys = _keys_to(value, wrong)
    return None if keys is None else _written(keys[::-1])


def _keys_to(value: Any, wrong: Callable[[Key, Any], bool]) -> list[Key] | None:
    """The keys that lead to what is wrong, the innermost first."""
    for key, item in value.items() if isinstance(value, Mapping) else enumerate(value):
        if wrong(key, item):
            return [key]
        if isinstance(item, (Mapping, list, tuple)) and (keys := _keys_to(item, wrong)) is not None:
            keys.append(key)
            return keys
    return None


def _written(keys: Sequence[Key]) -> str:
    """As in ``messages[0].content``."""
    names = (f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)
    return "".join(names).removeprefix(".").encode("utf-8", "backslashreplace").decode()
