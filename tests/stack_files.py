"""Stack files that a test may spoil."""

from pathlib import Path
from typing import Any

import yaml


class Stacks:
    """The folder of stack files, and ways to change them."""

    def __init__(self, folder: Path, state: Path) -> None:
        self.folder = folder
        self.state = state

    def waiver(self, expires: str) -> None:
        """Leave one exception from the hardening, with that last day."""
        reason = "Kubernetes hosts carry packets between pods."
        entry = {"control": "R12", "deviations": ["sysctl net.ipv4.ip_forward"], "reason": reason, "expires": expires}
        (self.folder / "hardening-waivers.yaml").write_text(yaml.safe_dump({"waivers": [entry]}))

    def change(self, environment: str, place: str, value: Any) -> None:
        """Put a value at a place like ``models/0/context_tokens``; ``None`` removes it."""
        path = self.folder / f"Pulumi.{environment}.yaml"
        document = yaml.safe_load(path.read_text())
        section, *steps = place.split("/")
        target = document["config"]
        keys = [f"llmaas:{section}", *steps]
        for key in keys[:-1]:
            target = target[int(key)] if isinstance(target, list) else target[key]
        last: Any = int(keys[-1]) if isinstance(target, list) else keys[-1]
        if value is None:
            del target[last]
        else:
            target[last] = value
        path.write_text(yaml.safe_dump(document, sort_keys=False))
