"""Installs Debian packages; costs one dpkg-query when there is nothing to do."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.llmaas.host.plugins.module_utils.debian import apt_get, known_packages, newer_packages

DOCUMENTATION = r"""
module: debian_packages
short_description: Debian packages from the declared sources
description:
  - Installs what is missing without recommended packages. Needs nothing on the host but dpkg, apt and Python.
  - Where apt cannot, since an installed package stays at its version, the error names that package and the remedy.
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
  level:
    description:
      - Whether to bring all that is installed to the versions of the sources first. A check run tells what apt knows of
        the sources without reading them again.
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
upgraded:
  description: What was or would be brought to the level of the sources, with what that needs.
  returned: always
  type: list
  elements: str
"""


def missing_packages(names: list[str]) -> list[str]:
    """Those of ``names`` that are not installed, or not in the asked version."""
    found = known_packages([name.partition("=")[0] for name in names])
    missing = []
    for name in names:
        package, _, version = name.partition("=")
        status, there = found.get(package, ("", ""))
        if status != "installed" or (version and there != version):
            missing.append(name)
    return missing


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "names": {"type": "list", "elements": "str", "required": True},
            "dpkg_options": {"type": "list", "elements": "str", "default": []},
            "refresh": {"type": "bool", "default": False},
            "level": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    given, check = module.params, module.check_mode
    options = [f"-oDpkg::Options::=--{option}" for option in (*given["dpkg_options"], "force-confold")]
    try:
        missing = missing_packages(given["names"])
        if not check and (missing or given["refresh"] or given["level"]):
            apt_get("update", "--error-on=any")
        upgraded = newer_packages() if given["level"] else []
        if upgraded and not check:
            apt_get(*options, "--with-new-pkgs", "upgrade")
        if missing and not check:
            apt_get("--no-install-recommends", *options, "install", *missing)
        if (upgraded or missing) and not check:
            apt_get("clean")
    except (OSError, ValueError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(upgraded or missing), installed=missing, upgraded=upgraded)


if __name__ == "__main__":
    main()
