"""What dpkg has installed, and apt-get without questions."""

from __future__ import annotations

import re

from ansible_collections.llmaas.host.plugins.module_utils.commands import output

_APT_GET = ("apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=300")
# as apt tells of a package that stays where it is, and of what another needs of it
_BLOCKING = re.compile(r"(\S+) \(([<>=]+) ([^)\s]+)\) but (\S+) is (?:to be )?installed")
_CANNOT = re.compile(r"unmet dependencies|held broken packages")


def known_packages(names: list[str]) -> dict[str, tuple[str, str]]:
    """Name -> dpkg's status (such as ``installed`` or ``config-files``) and version; without those dpkg never met."""
    if not names:
        return {}
    # 1: it never met some of them
    shown = output(
        "dpkg-query",
        "--show",
        "--showformat=${Package}\t${db:Status-Status}\t${Version}\n",
        *names,
        accepted=(0, 1),
    )
    rows = [line.split("\t") for line in shown.splitlines()]
    return {name: (status, version) for name, status, version in rows}


def apt_get(*arguments: str) -> str:
    """Run apt-get so that it asks nothing, and tell what it said.

    Raises:
        ValueError: it failed; the text has its last lines, and where a package stands in the way its name and a remedy.
    """
    try:
        return output(
            *_APT_GET,
            *arguments,
            environment={"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"},
            # what packages run complains on either
            merged=True,
        )
    except ValueError as error:
        raise ValueError(f"{error}{explained(str(error))}") from error


def newer_packages() -> list[str]:
    """What an upgrade would install, as apt knows its sources and pins: new packages that it needs among them."""
    said = apt_get("--simulate", "--with-new-pkgs", "upgrade")
    return [line.split()[1] for line in said.splitlines() if line.startswith("Inst ")]


def explained(said: str) -> str:
    """What to do where apt cannot install a package since another stays at its version; else nothing."""
    if not _CANNOT.search(said):
        return ""
    blocking = sorted(set(_BLOCKING.findall(said)))
    named = ", ".join(f"{name} is {there} and must be {sign} {wanted}" for name, sign, wanted, there in blocking)
    return (
        f"\nIn the way: {named or 'what apt names above'}. Installed packages keep their versions until others are"
        " approved: approve those that are needed in stacks/approved-updates.yaml, run playbooks/hosts.yml, and this"
        " again; where the host's version is the newer one, bring the mirror to it"
    )
