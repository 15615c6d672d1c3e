"""The secrets of one environment as they lie on the machine that administers it: one file each, made at random.

Nothing here is ever printed: the command line lists names only.
"""

import base64
import binascii
import re
import secrets as random_source
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from llmaas.files import locked, write_atomically
from llmaas.paths import state_dir

_NAME: Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_RANDOM_BYTES: Final = 32  # 43 characters, URL-safe


class SecretError(ValueError):
    """A secret cannot be named, read or made."""


@dataclass(frozen=True)
class SecretStore:
    """Secrets as files in ``folder``, each readable by its owner alone."""

    folder: Path

    @classmethod
    def open(cls, environment: str) -> Self:
        """The store of ``environment``; an empty one is made where there is none."""
        folder = state_dir(environment) / "secrets"
        folder.mkdir(mode=0o700, exist_ok=True)
        return cls(folder)

    def text(self, name: str, *, prefix: str = "") -> str:
        """The secret called ``name``; made at random (256 bits, URL-safe, after ``prefix``) if it is not there.

        Raises:
            SecretError: ``name`` is not lower-case words joined by hyphens, or the file is empty.
        """
        path = self._path(name)
        with locked(self.folder / ".lock"):
            if not path.exists():
                write_atomically(path, prefix + random_source.token_urlsafe(_RANDOM_BYTES), mode=0o600)
            value = path.read_text(encoding="utf-8").rstrip("\n")
        if not value:
            raise SecretError(
                f"secret {name!r}: {path} is empty; write the secret into it, or remove it to have one made"
            )
        return value

    def key(self, name: str) -> bytes:
        """The 32 random bytes of the secret called ``name``, made as ``text`` makes them.

        Raises:
            SecretError: as ``text``, or somebody wrote something else into the file.
        """
        text = self.text(name)
        try:
            key = base64.b64decode(f"{text}=", altchars=b"-_", validate=True)
        except (ValueError, binascii.Error):
            key = b""
        if len(key) != _RANDOM_BYTES:
            raise SecretError(
                f"secret {name!r}: {self._path(name)} does not hold {_RANDOM_BYTES} bytes as URL-safe base64 without"
                " padding; remove it to have one made"
            )
        return key

    def names(self) -> tuple[str, ...]:
        """The names of all secrets that were made so far, sorted."""
        return tuple(sorted(path.name for path in self.folder.iterdir() if _NAME.fullmatch(path.name)))

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise SecretError(f"secret {name!r}: a name is lower-case letters and digits in words joined by hyphens")
        return self.folder / name
