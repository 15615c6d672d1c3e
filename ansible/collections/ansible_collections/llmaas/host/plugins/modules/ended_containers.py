"""Ends what runs in containers on a host that leaves."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.llmaas.host.plugins.module_utils.commands import output
from ansible_collections.llmaas.host.plugins.module_utils.containers import containers, end_containers
from ansible_collections.llmaas.host.plugins.module_utils.mounts import below, unmount
from ansible_collections.llmaas.host.plugins.module_utils.systemd_units import states_of

DOCUMENTATION = r"""
module: ended_containers
short_description: No container on a host, and none after its next start
description:
  - Stops and disables the services that start containers, kills what is left of containers, and unmounts their root
    file systems. Pods of daemon sets and of the host's own manifests run until then, whatever a drain has moved away,
    and hold the devices that their data lie on.
  - Does nothing where nothing of that is there. A run that was interrupted goes on where it stopped.
options:
  services:
    description: Services that start containers, in the order in which they are stopped.
    type: list
    elements: str
    required: true
author: The authors of llmaas
"""

EXAMPLES = r"""
- name: End what runs in containers
  llmaas.host.ended_containers:
    services: [kubelet.service, containerd.service]
"""

RETURN = r"""
actions:
  description: What was or would be done.
  returned: always
  type: list
  elements: str
"""

# where containerd mounts the root file systems of containers, and the shared memory of pods
RUNTIME_STATE = "/run/containerd"
STOPPED = {"inactive", "failed"}


def stop(services: list[str], *, check: bool) -> list[str]:
    """Stop services for good: after its next start the host would bring its pods back, and itself into the cluster."""
    states = states_of(services)
    enabled = [name for name in services if states[name]["UnitFileState"] == "enabled"]
    running = [name for name in services if states[name]["ActiveState"] not in STOPPED]
    if not check:
        if enabled:
            output("systemctl", "disable", "--quiet", *enabled)
        for name in running:
            output("systemctl", "stop", name)
    return [*(f"disable {name}" for name in enabled), *(f"stop {name}" for name in running)]


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={"services": {"type": "list", "elements": "str", "required": True}},
        supports_check_mode=True,
    )
    actions: list[str] = []
    try:
        actions += stop(module.params["services"], check=module.check_mode)
        processes = [process for part in containers() for process in part]
        actions += [f"end {len(processes)} processes of containers"] if processes else []
        if not module.check_mode:
            end_containers()
        points = below(RUNTIME_STATE)
        actions += [f"unmount {point}" for point in points]
        if not module.check_mode:
            unmount(points)
    except (OSError, ValueError, KeyError) as error:
        module.fail_json(msg=f"{type(error).__name__}: {error}", actions=actions, changed=bool(actions))
    module.exit_json(changed=bool(actions), actions=actions)


if __name__ == "__main__":
    main()
