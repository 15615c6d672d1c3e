"""SSH keys of the lab: the administrator's, and one for each host, known before the host first starts."""

from pathlib import Path

from lab.command import run
from lab.layout import Layout
from lab.spec import LabSpec
from llmaas.files import write_atomically


def administrator_key(layout: Layout) -> Path:
    """The private key that root of every host accepts."""
    return _ensure_key(layout.ssh / "id_ed25519", "llmaas-lab-administrator")


def host_key(layout: Layout, name: str) -> Path:
    """The private key by which host ``name`` proves who it is."""
    folder = layout.ssh / "hosts"
    folder.mkdir(mode=0o700, exist_ok=True)
    return _ensure_key(folder / name, name)


def write_known_hosts(layout: Layout, spec: LabSpec) -> Path:
    """Pin every host's key under its name and its address."""
    lines = []
    for host in spec.hosts:
        public = host_key(layout, host.name).with_suffix(".pub").read_text(encoding="ascii").split()
        lines.append(f"{host.name},{host.address} {public[0]} {public[1]}\n")
    path = layout.ssh / "known_hosts"
    text = "".join(lines)
    if not path.exists() or path.read_text(encoding="ascii") != text:
        write_atomically(path, text)
    return path


def ssh_command(layout: Layout, address: str, *, batch: bool = True) -> list[str]:
    """How to reach root of the host at ``address``; a host with another key is refused."""
    options = {
        "IdentityFile": layout.ssh / "id_ed25519",
        "IdentitiesOnly": "yes",
        "UserKnownHostsFile": layout.ssh / "known_hosts",
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "ConnectTimeout": 5,
        "LogLevel": "ERROR",
    }
    if batch:
        options["BatchMode"] = "yes"
    return ["ssh", "-F", "none", *(f"-o{name}={value}" for name, value in options.items()), f"root@{address}"]


def _ensure_key(path: Path, comment: str) -> Path:
    public = path.with_suffix(".pub")
    # a lost machine leaves empty files: both halves must be there
    if not (path.exists() and path.stat().st_size and public.exists() and public.stat().st_size):
        path.unlink(missing_ok=True)
        public.unlink(missing_ok=True)
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", path])
    return path
