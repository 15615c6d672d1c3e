"""Issues certificates of the environment's own authority; runs on the machine that administers it."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: certificates
short_description: Certificates of the environment's own authority
description:
  - Issues what is missing, near its end or made for other names. Run it once, delegated to C(localhost).
options:
  environment:
    description: The environment whose authority issues.
    type: str
    required: true
  leaves:
    description: Each with name, dns, addresses and usage (server, client or both).
    type: list
    elements: dict
    required: true
author: The authors of llmaas
"""

EXAMPLES = r"""
- name: Issue host certificates
  llmaas.host.certificates:
    environment: lab
    leaves:
      - {name: gpu-host-01, dns: [gpu-host-01.lab.llmaas.internal], addresses: [10.77.0.21], usage: both}
"""

RETURN = r"""
issued:
  description: Names of the certificates that were or would be issued.
  returned: always
  type: list
  elements: str
"""


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "environment": {"type": "str", "required": True},
            "leaves": {"type": "list", "elements": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    try:
        from llmaas.pki import PkiError, open_authority  # noqa: PLC0415 - only there in the project's environment
    except ImportError as error:
        module.fail_json(msg=f"{error}; run ansible-playbook from the project's environment (bin/bootstrap makes it)")
    issued = []
    paths: dict[str, Any] = {}
    try:
        authority = open_authority(module.params["environment"])
        if authority.notice:
            module.warn(authority.notice)
        existing = {leaf.certificate.parent.name: leaf.certificate.read_bytes() for leaf in authority.leaves()}
        for leaf in module.params["leaves"]:
            subject = {"dns": leaf["dns"], "addresses": leaf["addresses"], "usage": leaf["usage"]}
            if module.check_mode:
                if authority.would_issue(leaf["name"], **subject):
                    issued.append(leaf["name"])
                continue
            made = authority.ensure_leaf(leaf["name"], **subject)
            paths[leaf["name"]] = str(made.certificate)
            if existing.get(leaf["name"]) != made.certificate.read_bytes():
                issued.append(leaf["name"])
    except (PkiError, OSError, KeyError) as error:
        module.fail_json(msg=f"{type(error).__name__}: {error}")
    module.exit_json(changed=bool(issued), issued=issued, paths=paths)


if __name__ == "__main__":
    main()
