"""Where the lab keeps what it makes: one folder of state, one of cache, and the names it takes on the machine."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from llmaas.paths import cache_dir, state_dir

ENVIRONMENT: Final = "lab"
BRIDGE: Final = "br-llmaas"
# Name of the folder in every cgroup hierarchy, and of the nftables table, that hold all of the lab's.
CGROUP: Final = "llmaas-lab"
FIREWALL_TABLE: Final = "llmaas_lab"


@dataclass(frozen=True)
class Layout:
    """The lab's folders on this machine."""

    state: Path
    cache: Path

    @property
    def hosts(self) -> Path:
        """One folder for each host: its disk and its console log."""
        return self.state / "hosts"

    @property
    def run(self) -> Path:
        """What was started and what was changed, for whoever ends it."""
        return self.state / "run"

    @property
    def logs(self) -> Path:
        """One log for each phase and each service of the site."""
        return self.state / "logs"

    @property
    def ssh(self) -> Path:
        """The key that administers the hosts and the host keys that it trusts."""
        return self.state / "ssh"

    @property
    def site(self) -> Path:
        """Configuration and public keys of the site's services."""
        return self.state / "site"

    @property
    def lock(self) -> Path:
        """Held by whoever changes the lab of this machine, wherever its state is: its links and groups are one set."""
        return Path("/run/llmaas-lab.lock")


def layout() -> Layout:
    """The folders of this user's lab, made if they are missing."""
    found = Layout(state=state_dir(ENVIRONMENT), cache=cache_dir())
    found.cache.mkdir(parents=True, exist_ok=True)
    for folder in (found.hosts, found.run, found.logs, found.ssh, found.site):
        folder.mkdir(mode=0o700, exist_ok=True)
    return found
