"""Makes a LUKS2 volume of ours unreadable for ever, and shows it: the key that opened it before opens it no more."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import subprocess
from typing import Any

from ansible_collections.llmaas.host.plugins.module_utils.commands import output
from ansible_collections.llmaas.host.plugins.module_utils.luks_volume import LuksVolume

_BLOCK = 1 << 20


def header_bytes(metadata: dict[str, Any]) -> int:
    """How many bytes lie before the data: both copies of the header and the areas of all key slots."""
    return min(int(segment["offset"]) for segment in metadata["segments"].values())


def digest_of_header(path: str, size: int) -> str:
    """SHA-256 of the first bytes of a device, as they lie on it."""
    found = hashlib.sha256()
    descriptor = os.open(path, os.O_RDONLY)
    try:
        # what the kernel remembers of the device is not what lies on it
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            while size > 0 and (block := file.read(min(size, _BLOCK))):
                found.update(block)
                size -= len(block)
    finally:
        os.close(descriptor)
    return found.hexdigest()


def served_key(volume: LuksVolume) -> tuple[str, str]:
    """The key that the key servers give for the volume, and why there is none; one of the two is empty."""
    slots = [slot for token in volume.bindings().values() for slot in token["keyslots"]]
    if not slots:
        return "", "the volume is bound to no key server"
    try:
        return output("clevis", "luks", "pass", "-d", volume.path, "-s", slots[0]), ""
    except (OSError, ValueError) as error:
        return "", str(error)


def attempt(path: str, key: str) -> str:
    """``opened``, or what cryptsetup says of a key; the volume is not made readable by it."""
    done = subprocess.run(
        ["cryptsetup", "open", "--test-passphrase", "--batch-mode", "--key-file", "-", path],
        input=key,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )
    return "opened" if done.returncode == 0 else (done.stderr or done.stdout).strip() or f"code {done.returncode}"


def erase(volume: LuksVolume, key: str, no_key: str) -> dict[str, Any]:
    """Erase all key slots and bindings; what a certificate says of it, without any key.

    ``key`` is the one that opens the volume now; where there is none, ``no_key`` says why.

    Raises:
        ValueError: a slot or a binding is still there, or a key still opens the volume.
    """
    before = volume.metadata()
    size = header_bytes(before)
    tried = [("the key of the key servers", key)] if key else []
    tried.append(("a random key", secrets.token_urlsafe(32)))
    opened = {name: attempt(volume.path, value) for name, value in tried}
    digest = digest_of_header(volume.path, size)
    # a run that was interrupted here has erased already, and finds no slot to erase
    if before["keyslots"]:
        output("cryptsetup", "erase", "--batch-mode", volume.path)
    for token in before["tokens"]:
        output("cryptsetup", "token", "remove", "--token-id", token, volume.path)
    os.sync()
    after = volume.metadata()
    attempts = [{"with": name, "before": opened[name], "after": attempt(volume.path, value)} for name, value in tried]
    if not key:
        attempts.append({"with": "the key of the key servers", "before": f"not tried: {no_key}", "after": "not tried"})
    still = [entry["with"] for entry in attempts if entry["after"] == "opened"]
    if after["keyslots"] or after["tokens"] or still:
        raise ValueError(
            f"{volume.path} is not erased: slots {sorted(after['keyslots'])}, tokens {sorted(after['tokens'])}, opened"
            f" by {', '.join(still) or 'none'}"
        )
    return {
        "luks_uuid": volume.uuid(),
        "header_bytes": size,
        "header_sha256": {"before": digest, "after": digest_of_header(volume.path, size)},
        "key_slots": {"before": len(before["keyslots"]), "after": len(after["keyslots"])},
        "bindings": {"before": len(before["tokens"]), "after": len(after["tokens"])},
        "attempts": attempts,
    }


def identity(path: str) -> dict[str, str]:
    """What a disk is known by outside this host: maker's model and serial number, world-wide name, size."""
    columns = "SIZE,MODEL,SERIAL,WWN"
    (shown,) = json.loads(output("lsblk", "--json", "--bytes", "--nodeps", "--output", columns, path))["blockdevices"]
    return {name: str(value).strip() for name, value in shown.items() if value is not None}
