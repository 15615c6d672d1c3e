"""The words of an answer that refuses: what LiteLLM and the gateway's own routes wrap them in."""

from typing import Final

import httpx

_SHORT: Final = 300


def words_of(answer: httpx.Response, most: int = _SHORT) -> str:
    """What an answer says, from ``error.message``, ``detail.error`` or the like; cut, as it may be a page.

    Args:
        answer: of an error.
        most: characters of a message that is wrapped; anything else is cut shorter.
    """
    try:
        content = answer.json()
    except ValueError:
        return answer.text[:_SHORT]
    for name in ("error", "detail"):
        inner = content.get(name) if isinstance(content, dict) else None
        if isinstance(inner, dict):
            return str(inner.get("message") or inner.get("error") or inner)[:most]
        if inner:
            return str(inner)[:_SHORT]
    return str(content)[:_SHORT]
