"""How long a value is as JSON, found without writing it: blanks alone can make it hundreds of times what was sent."""

from collections.abc import Mapping
from json import dumps
from json.encoder import encode_basestring
from typing import Any, Final

_INDENT: Final = 4


def written_bytes(value: Any, most: int) -> int:
    """Bytes of a value as JSON with every blank that a chat template may add, one level after another.

    Args:
        value: of JSON's types, however deep.
        most: where counting ends; what is returned then is no less than this.
    """
    written, blanks, level = 0, 0, [value]
    while level and written < most:
        below: list[Any] = []
        for item in level:
            if isinstance(item, Mapping):
                # A name is followed by a colon and a blank.
                written += _brackets(item, blanks) + sum(_text(str(name)) + 2 for name in item)
                below.extend(item.values())
            elif isinstance(item, (list, tuple)):
                written += _brackets(item, blanks)
                below.extend(item)
            else:
                written += _text(item) if isinstance(item, str) else len(dumps(item))
            if written >= most:
                break
        level, blanks = below, blanks + _INDENT
    return written


def _brackets(items: Any, blanks: int) -> int:
    """Brackets, commas, and the lines that each element and the closing bracket begin."""
    if not items:
        return 2
    return 2 + len(items) * (1 + blanks + _INDENT) + len(items) - 1 + 1 + blanks


def _text(text: str) -> int:
    return len(encode_basestring(text).encode("utf-8", "surrogatepass"))
