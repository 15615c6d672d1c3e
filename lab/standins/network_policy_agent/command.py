"""The agent's loop: wait for a change, let it settle, compute, apply what differs, say so in one line."""

import argparse
import contextlib
import logging
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from types import FrameType

from .cache import Cache
from .kernel import KernelError, apply_routes, apply_ruleset, listed_ruleset, wanted_routes
from .kernel_events import follow_kernel
from .kube_client import KubeClient, KubeconfigError, read_kubeconfig
from .ruleset import closed_ruleset, ruleset

LOG = logging.getLogger("network_policy_agent")

# A rollout changes many objects at once; one table for all of them is enough.
SETTLE_SECONDS = 0.1
RETRY_SECONDS = 2.0


class Agent:
    """Keeps the kernel of one node as the cluster's policies want it."""

    def __init__(self, kubeconfig: Path, node: str) -> None:
        self._node = node
        self._wake = threading.Event()
        self._cache = Cache(KubeClient(kubeconfig), self._wake.set)
        self._applied = ""
        self._listed: str | None = None
        self._ready = False

    def run(self) -> None:
        """Never returns; a signal ends the process and leaves the rules where they are."""
        self._close_until_known()
        follow_kernel(self._wake.set)
        self._cache.start()
        while True:
            self._wake.wait()
            time.sleep(SETTLE_SECONDS)
            self._wake.clear()
            try:
                self._reconcile()
            except KernelError as error:
                LOG.error("not applied: %s", error)  # noqa: TRY400 - the kernel's words say more than a trace
                threading.Timer(RETRY_SECONDS, self._wake.set).start()

    def _close_until_known(self) -> None:
        """A table that an earlier run left is closed to unknown pods already, and right for the known ones."""
        if listed_ruleset() is None:
            apply_ruleset(closed_ruleset())
            LOG.info("closed: no pod may be reached before the policies are known")

    def _reconcile(self) -> None:
        world = self._cache.world()
        if world is None:
            if listed_ruleset() is None:
                apply_ruleset(closed_ruleset())
            return
        wanted = ruleset(world, self._node)
        present = listed_ruleset()
        if wanted.text != self._applied or present is None or present != self._listed:
            foreign = wanted.text == self._applied
            apply_ruleset(wanted.text)
            self._applied, self._listed = wanted.text, listed_ruleset()
            LOG.info(
                "applied: %d pods here, %d isolated, %d rules from %d policies%s",
                wanted.pods,
                wanted.isolated,
                wanted.rules,
                len(world.policies),
                " (someone else had changed the table)" if foreign else "",
            )
        changes = apply_routes(wanted_routes(world, self._node))
        if changes:
            LOG.info("applied: %d changes of routes to %d nodes", changes, len(world.nodes) - 1)
        if not self._ready:
            self._ready = True
            _notify_ready()


def _notify_ready() -> None:
    """Tell systemd, if it asked, that the policies are in force."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel, contextlib.suppress(OSError):
        channel.sendto(b"READY=1", address.replace("@", "\0", 1) if address.startswith("@") else address)


def _stop(_number: int, _frame: FrameType | None) -> None:
    # os._exit: threads that wait on a watch must not hold up a stop.
    os._exit(0)


def main() -> int:
    """Read the arguments and run; 2 when the kubeconfig cannot be used."""
    parser = argparse.ArgumentParser(
        prog="network_policy_agent",
        description="Enforces NetworkPolicies on this host and keeps the routes to the others.",
    )
    parser.add_argument("--kubeconfig", type=Path, required=True, help="as JSON, with a client certificate")
    parser.add_argument("--node", required=True, help="the name of this host in the cluster")
    arguments = parser.parse_args()
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(levelname)s %(message)s")
    try:
        read_kubeconfig(arguments.kubeconfig)
    except (OSError, KubeconfigError) as error:
        LOG.error("%s", error)  # noqa: TRY400
        # Even without the API the pods must not be open.
        if listed_ruleset() is None:
            apply_ruleset(closed_ruleset())
        return 2
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    Agent(arguments.kubeconfig, arguments.node).run()
    return 0
