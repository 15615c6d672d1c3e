"""The Python environment that a program runs in: its interpreter, its packages, the plugins they name."""

import json
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from pulumi.runtime.proto import language_pb2


@dataclass(frozen=True)
class PluginNeed:
    """A provider plugin that an installed SDK package names."""

    name: str
    version: str
    server: str


def interpreter(info: language_pb2.ProgramInfo) -> str:
    """Find the interpreter: the project's `virtualenv` runtime option, else the one that runs this program."""
    virtualenv = dict(info.options).get("virtualenv")
    if not isinstance(virtualenv, str) or not virtualenv:
        return sys.executable
    python = Path(info.root_directory, virtualenv, "bin", "python")
    if not python.exists():
        message = f"Pulumi.yaml: runtime option virtualenv names {virtualenv!r}, but {python} does not exist; create it"
        raise FileNotFoundError(message)
    return str(python)


def required_plugins() -> list[PluginNeed]:
    """List the plugins that the installed packages name in their `pulumi-plugin.json`."""
    needs = []
    for distribution in metadata.distributions():
        for file in distribution.files or ():
            if file.name != "pulumi-plugin.json" or len(file.parts) != 2:
                continue
            described = json.loads(Path(str(file.locate())).read_text())
            if described.get("resource") and described.get("name"):
                version = described.get("version") or distribution.version
                needs.append(PluginNeed(described["name"], version, described.get("server", "")))
    return needs


def dependencies(python: str, *, transitive: bool) -> list[tuple[str, str]]:
    """List name and version of the packages of an environment, all or only those that no other one needs."""
    command = [python, "-c", _LIST_PACKAGES, "all" if transitive else "top"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True)
    return [(name, version) for name, version in json.loads(listed.stdout)]


_LIST_PACKAGES = """
import json, re, sys
from importlib.metadata import distributions
plain = lambda name: re.sub(r"[-_.]+", "-", name).lower()
found = {plain(d.metadata["Name"]): d for d in distributions()}
needed = {plain(re.split(r"[ ;<>=!~\\[(]", need)[0]) for d in found.values() for need in d.requires or ()}
wanted = found if sys.argv[1] == "all" else found.keys() - needed
print(json.dumps(sorted((found[name].metadata["Name"], found[name].version) for name in wanted)))
"""
