"""What kubeadm does to a host, begun anew where it was not brought to its end."""

from __future__ import annotations

import os
import time

from ansible_collections.llmaas.host.plugins.module_utils.commands import output

# Lies there from before kubeadm changes anything until it has succeeded. Its own files, admin.conf and kubelet.conf,
# are among the first things it writes: they do not say that it came to its end.
BEGUN = "/var/lib/llmaas/kubeadm-begun"
# what the first control plane leaves, and every further one
ADMIN = "/etc/kubernetes/admin.conf"
# kubeadm looks for the container runtime before it changes anything, and gives it two seconds to answer: too few on a
# host on which everything starts at once
NO_RUNTIME = "[ERROR CRI]"
LOOKS = 6
SECONDS_BETWEEN_LOOKS = 5


def stands(file: str) -> bool:
    """Whether what leaves ``file`` was brought to its end on this host."""
    return os.path.exists(file) and not os.path.exists(BEGUN)


def mark(path: str, text: str) -> None:
    """Leave a file that is there after a loss of power too, for whoever finds the work that follows interrupted."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"{text}\n")
        file.flush()
        os.fsync(file.fileno())


def to_the_end(*arguments: str) -> str:
    """Run kubeadm, after undoing what a run before it has begun; what it said.

    Raises:
        ValueError: it failed. What it left stays for who looks for the reason, until the next run.
    """
    if os.path.exists(BEGUN):
        output("kubeadm", "reset", "--force")
    mark(BEGUN, " ".join(["kubeadm", *arguments]))
    said = _once_the_runtime_answers(arguments)
    os.unlink(BEGUN)
    return said


def _once_the_runtime_answers(arguments: tuple[str, ...]) -> str:
    for _ in range(LOOKS - 1):
        try:
            return output("kubeadm", *arguments)
        except ValueError as error:
            if NO_RUNTIME not in str(error):
                raise
        time.sleep(SECONDS_BETWEEN_LOOKS)
    return output("kubeadm", *arguments)
