"""What dpkg has installed, and apt-get without questions."""

from __future__ import annotations

from ansible_collections.llmaas.host.plugins.module_utils.commands import output

_APT_GET = ("apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=300")


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


def apt_get(*arguments: str) -> None:
    """Run apt-get so that it asks nothing; a failure raises ValueError with its last lines."""
    output(
        *_APT_GET,
        *arguments,
        environment={"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"},
        # what packages run complains on either
        merged=True,
    )
