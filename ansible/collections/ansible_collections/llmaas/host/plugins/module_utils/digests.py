"""SHA-256 of files that are too large to be held in memory."""

from __future__ import annotations

import hashlib
import os

BLOCK = 1024 * 1024
# follows the name of a file that is sent but not verified yet
PART = ".part"


def sha256_of(path: str) -> str:
    """The digest in hexadecimal; empty where there is no regular file."""
    if not os.path.isfile(path):
        return ""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
