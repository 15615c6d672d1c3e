"""Where systemd's own units of a host lie, and which of them are masked."""

from __future__ import annotations

import os

UNITS = "/etc/systemd/system/"


def is_masked(name: str) -> bool:
    """Whether nothing can start the unit: its name is a link to nothing."""
    path = os.path.join(UNITS, name)
    return os.path.islink(path) and os.readlink(path) == os.devnull
