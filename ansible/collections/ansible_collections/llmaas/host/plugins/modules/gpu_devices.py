"""Judges a host's GPUs against the stack file."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.llmaas.host.plugins.module_utils.gpu_facts import collect
from ansible_collections.llmaas.host.plugins.module_utils.gpu_judgement import Declared, after, before

DOCUMENTATION = r"""
module: gpu_devices
short_description: Whether GPUs are the declared ones and can be driven
description:
  - Changes nothing. Before the runtime is installed it says what stands in the way, afterwards what is not as declared.
options:
  declared:
    description: GPUs as the stack file has them, and its path there.
    type: dict
    required: true
  installed:
    description: Whether the runtime is installed, so that driver, persistence and divisions are judged too.
    type: bool
    default: false
  prepared:
    description: Whether the run has made the kernel ready; what still stands in the way is then a problem and no note.
    type: bool
    default: false
author: The authors of llmaas
"""

EXAMPLES = r"""
- name: Judge the GPUs
  llmaas.host.gpu_devices:
    declared: "{{ gpu_runtime_declared }}"
"""

RETURN = r"""
problems:
  description: What is wrong, each with its path in the stack file and a remedy.
  returned: always
  type: list
  elements: str
notes:
  description: What a run will change.
  returned: always
  type: list
  elements: str
facts:
  description: What the host said.
  returned: always
  type: dict
"""


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "declared": {"type": "dict", "required": True},
            "installed": {"type": "bool", "default": False},
            "prepared": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    try:
        facts, declared = collect(), Declared.of(module.params["declared"])
        if module.params["installed"]:
            judgement = after(facts, declared)
        else:
            judgement = before(facts, declared, prepared=module.params["prepared"])
    except (OSError, ValueError, KeyError) as error:
        module.fail_json(msg=f"{type(error).__name__}: {error}")
    module.exit_json(changed=False, problems=list(judgement.problems), notes=list(judgement.notes), facts=facts)


if __name__ == "__main__":
    main()
