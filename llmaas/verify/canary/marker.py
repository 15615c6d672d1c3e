"""What is searched for: a marker that nobody else could have written, in the forms that programs give to text."""

import base64
import json
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

# So long a piece of an answer, with so many different letters, is nothing that stands somewhere else by chance.
_PIECE: Final = re.compile(r"[A-Za-z0-9 ,.;:()-]{24,}")
_PIECE_LETTERS: Final = 48
_DIFFERENT_LETTERS: Final = 9
_PIECES: Final = 20


def _new(prefix: str) -> str:
    # Letters and digits alone: no encoder of logs or JSON writes them otherwise.
    return f"{prefix}{secrets.token_hex(14)}"


@dataclass(frozen=True)
class Canary:
    """The marker of one run, and a control that is planted where a search must find something.

    Attributes:
        marker: in every text that is sent. Never printed.
        control: holds nothing of the marker; may be seen by anybody.
    """

    marker: str = field(default_factory=lambda: _new("canary"), repr=False)
    control: str = field(default_factory=lambda: _new("control"))

    @property
    def text(self) -> str:
        """A prompt: the marker at its beginning, in the middle and at its end, whatever a log cuts off."""
        return f"{self.marker} Bonjour {self.marker}, merci. {self.marker}"

    def patterns(self, answers: Iterable[str] = ()) -> dict[str, bytes]:
        """Every form of the marker, and pieces of the answers, by a name that tells nothing of the text."""
        raw = self.marker.encode()
        found = {"plain": raw, "hexadecimal": raw.hex().encode(), "UTF-16": self.marker.encode("utf-16-le")}
        for shift in range(3):
            found[f"base64, shifted by {shift}"] = _base64_core(raw, shift)
        pieces = dict.fromkeys(piece for answer in answers for piece in _pieces(answer))
        for number, piece in enumerate(list(pieces)[:_PIECES], 1):
            found[f"answer, piece {number}"] = piece.encode()
        return found


def _base64_core(raw: bytes, shift: int) -> bytes:
    """What is in every base64 text of ``raw``, however many bytes stand before it (modulo 3) and after it."""
    encoded = base64.b64encode(b"\0" * shift + raw)
    first = -(-shift * 8 // 6)
    whole = (shift + len(raw)) * 8 // 6
    return encoded[first:whole]


def _pieces(answer: str) -> list[str]:
    found = (piece[:_PIECE_LETTERS] for piece in _PIECE.findall(answer))
    return [piece for piece in found if len(set(piece.lower())) >= _DIFFERENT_LETTERS]


def order(canary: Canary, patterns: dict[str, bytes], roots: Iterable[str], since: float) -> str:
    """What ``search`` is told on a host."""
    content = {
        "patterns": {name: pattern.hex() for name, pattern in patterns.items()},
        "control": canary.control,
        "roots": list(roots),
        "since": since,
    }
    return json.dumps(content)
