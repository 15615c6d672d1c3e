"""Renews the certificates of a control host before they end."""

from __future__ import annotations

import json
import os
import signal
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.llmaas.host.plugins.module_utils.commands import output
from ansible_collections.llmaas.host.plugins.module_utils.kubeadm import ADMIN, mark, stands

DOCUMENTATION = r"""
module: kubeadm_certificates
short_description: Renews what kubeadm has signed on a control host before it ends
description:
  - Certificates of kubeadm hold for a year, and an upgrade of Kubernetes alone would renew them. This runs
    C(kubeadm certs renew all) as soon as one of them has fewer than C(days) left, and restarts the programs that have
    read the old ones, one host after another if the task has C(throttle=1).
  - A host that is no control host yet has nothing to renew. A certificate of which somebody else holds the authority's
    key is left alone.
  - Interrupted between the two, it restarts the programs when it runs again.
options:
  configuration:
    description: The file with the InitConfiguration and the ClusterConfiguration.
    type: path
    required: true
  days:
    description: Renew what has fewer days left.
    type: int
    required: true
  server:
    description: The host's own API server, which is waited for; the others' answer at the shared address.
    type: str
    required: true
author: The authors of llmaas
"""

EXAMPLES = r"""
- name: Renew the certificates of the control plane
  llmaas.host.kubeadm_certificates:
    configuration: /etc/llmaas/control-plane/kubeadm.yaml
    days: 90
    server: https://10.20.0.11:6443
  throttle: 1
"""

RETURN = r"""
renewed:
  description: Certificates that had fewer days left.
  returned: always
  type: list
  elements: str
"""

KUBECTL = "/usr/local/bin/kubectl"
READERS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
DAY = 86400
# kubelet waits longer each time that a container ends, up to five minutes
RESTART_SECONDS = 420.0
# lies there from before the renewal until the programs have read what was renewed
RENEWING = "/var/lib/llmaas/kubeadm-renewing"


def ending(expirations: str, days: int) -> list[str]:
    """Names of certificates with fewer than ``days`` left, of what ``kubeadm certs check-expiration`` says in JSON."""
    return sorted(
        certificate["name"]
        for certificate in json.loads(expirations)["certificates"]
        if not certificate.get("missing")
        and not certificate.get("externallyManaged")
        and certificate["residualTime"] < days * DAY
    )


def readers(proc: str = "/proc") -> dict[int, str]:
    """Process id to name of the programs that read these certificates once, as they start."""
    found = {}
    for entry in os.listdir(proc):
        if entry.isdigit():
            try:
                name = os.path.basename(os.readlink(f"{proc}/{entry}/exe"))
            except OSError:
                # it has ended, or is the kernel's
                continue
            if name in READERS:
                found[int(entry)] = name
    return found


def restart(server: str) -> None:
    """End those programs, and wait until kubelet has started each anew and the host's own API server answers.

    Raises:
        ValueError: one of them does not come back.
    """
    before = readers()
    for process in before:
        os.kill(process, signal.SIGTERM)
    deadline = time.monotonic() + RESTART_SECONDS
    while True:
        after = {name for process, name in readers().items() if process not in before}
        absent = sorted(set(before.values()) - after)
        problem = f"{', '.join(absent)} not started anew" if absent else ""
        if not absent:
            try:
                output(KUBECTL, f"--kubeconfig={ADMIN}", f"--server={server}", "get", "--raw", "/readyz")
            except ValueError as error:
                problem = str(error)
            else:
                return
        if time.monotonic() > deadline:
            raise ValueError(f"certificates are renewed, but within {RESTART_SECONDS:.0f} s: {problem}")
        time.sleep(1)


def renew(found: list[str], configuration: str, server: str) -> None:
    """Renew what ends, if anything does, and let the programs read it.

    Raises:
        ValueError: kubeadm refused, or a program does not come back; the next run goes on from there.
    """
    mark(RENEWING, " ".join(found))
    if found:
        output("kubeadm", "certs", "renew", "all", configuration)
    restart(server)
    os.unlink(RENEWING)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "configuration": {"type": "path", "required": True},
            "days": {"type": "int", "required": True},
            "server": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    if not stands(ADMIN):
        module.exit_json(changed=False, renewed=[])
    configuration = f"--config={module.params['configuration']}"
    try:
        found = ending(
            output("kubeadm", "certs", "check-expiration", configuration, "--output=json"), module.params["days"]
        )
        due = bool(found) or os.path.exists(RENEWING)
        if due and not module.check_mode:
            renew(found, configuration, module.params["server"])
    except (OSError, ValueError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=due, renewed=found)


if __name__ == "__main__":
    main()
