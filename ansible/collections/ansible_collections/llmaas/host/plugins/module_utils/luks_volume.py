"""A LUKS2 volume of ours: formatted, bound to key servers, opened. Keys come by standard input, never by a file."""

from __future__ import annotations

import json
import os
import re
from typing import Any

from ansible_collections.llmaas.host.plugins.module_utils.block_devices import probe
from ansible_collections.llmaas.host.plugins.module_utils.commands import output
from ansible_collections.llmaas.host.plugins.module_utils.key_servers import binding_of
from ansible_collections.llmaas.host.plugins.module_utils.open_volumes import lies_on, taken_by

CIPHER = "aes-xts-plain64"
KEY_BITS = 512
# what cryptsetup takes at most by itself; a quarter of a small host's memory must do there
_MEMORY_KIB = 1024 * 1024
# clevis copies the header there while it changes a binding: never onto a disk
_SCRATCH = "/run/llmaas"


class LuksVolume:
    """The volume on ``path``, opened as ``/dev/mapper/<name>``."""

    def __init__(self, path: str, name: str) -> None:
        self.path = path
        self.name = name

    @classmethod
    def of(cls, path: str, purpose: str) -> LuksVolume:
        """That of a declared device, which is named by its purpose."""
        return cls(path, f"llmaas-{purpose}")

    @property
    def mapper(self) -> str:
        """Where the opened volume is."""
        return f"/dev/mapper/{self.name}"

    def uuid(self) -> str:
        """What the records and the tables of the host know the volume by."""
        return output("cryptsetup", "luksUUID", self.path).strip()

    def metadata(self) -> dict[str, Any]:
        """The JSON part of the header."""
        found: dict[str, Any] = json.loads(output("cryptsetup", "luksDump", "--dump-json-metadata", self.path))
        return found

    def epoch(self) -> int:
        """Counts the changes of the header."""
        shown = re.search(r"^Epoch:\s*(\d+)$", output("cryptsetup", "luksDump", self.path), re.MULTILINE)
        return int(shown[1]) if shown else 0

    def format(self, uuid: str, key: str) -> None:
        """Make an empty volume that ``key`` opens; whatever lay there is lost."""
        output("wipefs", "--all", "--quiet", self.path)
        self._with_input(
            key,
            *("cryptsetup", "luksFormat", "--batch-mode", "--type", "luks2", "--uuid", uuid, "--label", self.name),
            *("--cipher", CIPHER, "--key-size", str(KEY_BITS), "--key-file", "-", *argon2id(), self.path),
        )

    def weaknesses(self) -> list[str]:
        """What is not as this project formats a volume.

        A key server's slot holds a random key: no derivation makes it stronger.
        """
        metadata = self.metadata()
        found = [
            f"segment {number} is encrypted with {segment.get('encryption')}"
            for number, segment in metadata["segments"].items()
            if segment.get("encryption") != CIPHER
        ]
        bound = {slot for token in self.bindings().values() for slot in token["keyslots"]}
        for number, slot in metadata["keyslots"].items():
            if slot["key_size"] * 8 != KEY_BITS:
                found.append(f"the key in slot {number} has {slot['key_size'] * 8} bits")
            if slot["kdf"]["type"] != "argon2id" and number not in bound:
                found.append(f"slot {number} is derived by {slot['kdf']['type']}")
        return found

    def bindings(self) -> dict[str, dict[str, Any]]:
        """Tokens of clevis in the header, by number."""
        return {number: token for number, token in self.metadata()["tokens"].items() if token["type"] == "clevis"}

    def is_bound_to(self, threshold: int, servers: dict[str, str]) -> bool:
        """Whether the one binding asks for these servers (address -> thumbprint) and as many of them."""
        tokens = list(self.bindings().values())
        if len(tokens) != 1:
            return False
        binding = binding_of(tokens[0])
        found = binding["servers"]
        return (
            binding["threshold"] == threshold
            and set(found) == set(servers)
            and all(thumbprint in found[url] for url, thumbprint in servers.items())
        )

    def bind(self, threshold: int, servers: dict[str, str], key: str) -> None:
        """Let the key servers open the volume; without ``key`` the binding that there is opens it for the change."""
        tang = [{"url": url, "thp": thumbprint} for url, thumbprint in sorted(servers.items())]
        config = json.dumps({"t": threshold, "pins": {"tang": tang}})
        slots = [token["keyslots"][0] for token in self.bindings().values()]
        if slots:
            self._with_input("", "clevis", "luks", "edit", "-f", "-d", self.path, "-s", slots[0], "-c", config)
        elif key:
            self._with_input(key, "clevis", "luks", "bind", "-y", "-k", "-", "-d", self.path, "sss", config)
        else:
            raise ValueError(f"{self.path} is bound to no key server, and only its recovery key could bind it again")
        # tried first, so that a start does not pay for the slow derivation of the slot that a person opens
        for token in self.bindings().values():
            slot = token["keyslots"][0]
            output("cryptsetup", "config", "--priority", "prefer", "--key-slot", slot, self.path)

    def replace_recovery_key(self, key: str) -> None:
        """Let ``key`` open the volume, and none that a person had before; the key servers authorise the change."""
        (bound,) = (token["keyslots"][0] for token in self.bindings().values())
        before = set(self.metadata()["keyslots"])
        served = output("clevis", "luks", "pass", "-d", self.path, "-s", bound)
        reading, writing = os.pipe()
        with os.fdopen(writing, "w", encoding="ascii") as stream:
            stream.write(served)
        try:
            self._with_input(
                key,
                *("cryptsetup", "luksAddKey", "--batch-mode", "--key-file", f"/dev/fd/{reading}", *argon2id()),
                *(self.path, "-"),
                pass_fds=(reading,),
            )
        finally:
            os.close(reading)
        for slot in sorted(before - {bound}):
            output("cryptsetup", "luksKillSlot", "--batch-mode", self.path, slot)

    def open(self) -> None:
        """Open the volume as it is opened at every start: with what the key servers answer."""
        self._with_input("", "clevis", "luks", "unlock", "-d", self.path, "-n", self.name)

    def is_open(self) -> bool:
        """Whether the volume is there to be read; one of another device under its name is not."""
        return lies_on(self.name, self.path)

    def name_taken(self) -> str:
        """Which other device is open under the volume's name, and what to do; empty where none is."""
        return taken_by(self.name, self.path)

    def has_file_system(self) -> bool:
        """Whether anything is known to lie on the opened volume; False while it is locked."""
        opened = probe(self.mapper)
        return opened is not None and bool(opened.signature)

    def make_file_system(self) -> None:
        """Make ext4 on the opened volume.

        Raises:
            ValueError: what is open under its name is not this volume; nothing was changed.
        """
        if not self.is_open():
            raise ValueError(self.name_taken() or f"{self.path} is not open as {self.mapper}")
        output("mkfs.ext4", "-q", "-L", self.name[:16], self.mapper)

    def _with_input(self, text: str, *command: str, pass_fds: tuple[int, ...] = ()) -> None:
        os.makedirs(_SCRATCH, mode=0o700, exist_ok=True)
        # the command line, which an error names, has no key: keys come by standard input
        environment = {"TMPDIR": _SCRATCH, "LC_ALL": "C.UTF-8"}
        output(*command, given=text, environment=environment, pass_fds=pass_fds)


def argon2id() -> tuple[str, ...]:
    """Options of cryptsetup for a key that a person types; its cost is set by this host's speed and memory."""
    with open("/proc/meminfo", encoding="ascii") as file:
        total_kib = int(file.readline().split()[1])
    return ("--pbkdf", "argon2id", "--pbkdf-memory", str(min(_MEMORY_KIB, total_kib // 4)))
