"""Installs Debian packages; costs one dpkg-query when there is nothing to do."""

from __future__ import annotations

import os
import subprocess

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: debian_packages
short_description: Debian packages from the declared sources
description:
  - Installs what is missing without recommended packages. Needs nothing on the host but dpkg, apt and Python.
options:
  names:
    description: Packages, each a name or C(name=version).
    type: list
    elements: str
    required: true
  dpkg_options:
    description: Options for dpkg, such as C(force-unsafe-io) on hosts that can be made again.
    type: list
    elements: str
    default: []
  refresh:
    description: Whether to read the package lists again even if nothing is missing.
    type: bool
    default: false
author: The authors of llmaas
"""

EXAMPLES = r"""
- name: Install the container runtime
  llmaas.host.debian_packages:
    names: [containerd, runc]
"""

RETURN = r"""
installed:
  description: What was or would be installed.
  returned: always
  type: list
  elements: str
"""


def missing_packages(names: list[str]) -> list[str]:
    """Those of ``names`` that are not installed, or not in the asked version."""
    plain = [name.partition("=")[0] for name in names]
    shown = subprocess.run(
        ["dpkg-query", "--show", "--showformat=${Package}\t${db:Status-Status}\t${Version}\n", *plain],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    found = {}
    for line in shown.splitlines():
        name, status, version = line.split("\t")
        if status == "installed":
            found[name] = version
    missing = []
    for name in names:
        package, _, version = name.partition("=")
        if package not in found or (version and found[package] != version):
            missing.append(name)
    return missing


def run(module: AnsibleModule, command: list[str]) -> None:
    """Run apt-get without questions; a failure fails the task with its last lines."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0:
        lines = "\n".join((done.stdout + done.stderr).splitlines()[-25:])
        module.fail_json(msg=f"{' '.join(command)}: exit code {done.returncode}\n{lines}")


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "names": {"type": "list", "elements": "str", "required": True},
            "dpkg_options": {"type": "list", "elements": "str", "default": []},
            "refresh": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    missing = missing_packages(module.params["names"])
    if not module.check_mode and (missing or module.params["refresh"]):
        run(module, ["apt-get", "-q", "update", "-o", "DPkg::Lock::Timeout=300", "--error-on=any"])
    if missing and not module.check_mode:
        options = [f"-oDpkg::Options::=--{option}" for option in module.params["dpkg_options"]]
        options.append("-oDpkg::Options::=--force-confold")
        command = ["apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=300", "--no-install-recommends", *options]
        run(module, [*command, "install", *missing])
        run(module, ["apt-get", "-q", "clean"])
    module.exit_json(changed=bool(missing), installed=missing)


if __name__ == "__main__":
    main()
