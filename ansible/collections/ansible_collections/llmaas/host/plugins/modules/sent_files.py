"""Puts large files in place that lie beside it already, once their digests are right."""

from __future__ import annotations

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.llmaas.host.plugins.module_utils.digests import PART, sha256_of
from ansible_collections.llmaas.host.plugins.module_utils.effects import APPLY, apply

DOCUMENTATION = r"""
module: sent_files
short_description: Large files, such as programs, sent once and verified on the host
description:
  - Sends each file as it is, whatever lies there; ask C(llmaas.host.file_set) by I(expected) which ones differ.
  - A file whose digest on the host is another than the given one is not put in place.
options:
  files:
    description:
      - Files, each with path, src (a file of the controller) and its sha256, and optionally mode; root owns them.
    type: list
    elements: dict
    required: true
  apply:
    description:
      - Commands that make the files take effect, as those of C(llmaas.host.file_set); without I(of), the files of this
        call alone.
    type: list
    elements: dict
    default: []
author: The authors of llmaas
"""

EXAMPLES = r"""
- name: Place a program
  llmaas.host.sent_files:
    files:
      - {path: /usr/local/bin/kubelet, src: /opt/kubernetes/kubelet, sha256: "{{ kubelet_sha256 }}", mode: "0755"}
"""

RETURN = r"""
changed_paths:
  description: What was or would be placed.
  returned: always
  type: list
  elements: str
"""


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={"files": {"type": "list", "elements": "dict", "required": True}, "apply": APPLY}
    )
    files = module.params["files"]
    wrong = [entry["path"] for entry in files if sha256_of(entry["path"] + PART) != entry["sha256"]]
    if wrong:
        for path in wrong:
            if os.path.exists(path + PART):
                os.unlink(path + PART)
        module.fail_json(msg=f"{', '.join(wrong)}: what arrived is not what was sent; run the playbook again")
    for entry in files:
        part = entry["path"] + PART
        os.chmod(part, int(str(entry.get("mode", "0644")), 8))
        os.chown(part, 0, 0)
        os.replace(part, entry["path"])
    paths = [entry["path"] for entry in files]
    try:
        apply(module.params["apply"], paths, check=False)
    except (OSError, ValueError) as error:
        module.fail_json(msg=str(error), changed=True)
    module.exit_json(changed=bool(files), changed_paths=paths)


if __name__ == "__main__":
    main()
