"""The site's three programs: nginx for packages and weights, the image registry, and the clock."""

import hashlib
import shutil
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab.cgroups import end_group
from lab.errors import LabError
from lab.layout import ENVIRONMENT, Layout
from lab.processes import ProcessTable
from lab.site.packages import mirror_folder, publish_packages
from lab.spec import LabSpec
from llmaas.files import write_atomically
from llmaas.pki import Leaf, open_authority
from llmaas.secrets import SecretStore
from llmaas.views.time_keys import SECRET, key_file

_SANDBOX: Final = Path(__file__).with_name("sandbox.sh")
_TEMPLATES: Final = Path(__file__).parent / "templates"
_START_SECONDS: Final = 20
WEB_PORT: Final = 8443
REGISTRY_PORT: Final = 5000
CLOCK_PORT: Final = 123


@dataclass(frozen=True)
class Service:
    """A program of the site: what it is started with, and the port on which it then answers."""

    name: str
    command: tuple[str, ...]
    configuration: str
    sources: tuple[str, ...]
    files: tuple[Path, ...]
    port: int
    capability: str = ""
    answers_tcp: bool = True

    def key(self) -> str:
        """Changes with all that it is started with: then it must be started again."""
        content = repr((self.command, self.configuration, self.sources))
        return hashlib.sha256(b"\0".join([content.encode(), *(path.read_bytes() for path in self.files)])).hexdigest()


def services(layout: Layout, spec: LabSpec, leaf: Leaf, served: Path) -> tuple[Service, ...]:
    """The site's programs and their configuration."""
    values = {"address": spec.site_address, "network": str(spec.network)}
    tls = (f"{leaf.certificate}:tls/tls.crt", f"{leaf.key}:tls/tls.key")
    (layout.cache / "models").mkdir(exist_ok=True)
    (layout.cache / "registry").mkdir(exist_ok=True)
    keys = layout.site / "clock.keys"
    write_atomically(keys, key_file(SecretStore.open(ENVIRONMENT).key(SECRET)), mode=0o600)
    return (
        Service(
            "site-web",
            ("nginx", "-e", "stderr", "-c", "/srv/service.conf"),
            _render("nginx.conf", values),
            (
                *tls,
                f"{served}:debian",
                f"{mirror_folder(layout) / 'pool'}:pool",
                f"{layout.cache / 'models'}:models",
            ),
            (leaf.certificate,),
            WEB_PORT,
        ),
        Service(
            "site-registry",
            ("docker-registry", "serve", "/srv/service.conf"),
            _render("registry.yaml", values),
            (*tls, f"{layout.cache / 'registry'}:registry:write"),
            (leaf.certificate,),
            REGISTRY_PORT,
        ),
        Service(
            "site-clock",
            # -x: it serves the machine's clock and leaves that as it is; -U: it is not started as root
            ("chronyd", "-d", "-x", "-U", "-f", "/srv/service.conf"),
            _render("chrony.conf", values),
            (f"{keys}:chrony.keys",),
            (keys,),
            CLOCK_PORT,
            capability="net_bind_service",
            answers_tcp=False,
        ),
    )


def ensure_site(layout: Layout, spec: LabSpec, report: Callable[[str], None]) -> None:
    """Start what does not run, and again what is started with something else by now.

    Raises:
        LabError: a program does not answer; the text names it and its log.
    """
    leaf = open_authority(ENVIRONMENT).ensure_leaf(
        "site", dns=[spec.registry.partition(":")[0], f"site.{spec.domain}"], addresses=[spec.site_address]
    )
    served = publish_packages(layout, layout.logs / "packages.log")
    table = ProcessTable.at(layout.run)
    for service in services(layout, spec, leaf, served):
        mark = layout.run / f"{service.name}.key"
        if table.get(service.name) and mark.exists() and mark.read_text(encoding="ascii") == service.key():
            report(f"{service.name}: runs")
            continue
        _stop(layout, table, service.name)
        _start(layout, table, service)
        _await(layout, table, service, spec.site_address)
        write_atomically(mark, service.key())
        report(f"{service.name}: started, port {service.port}")


def stop_site(layout: Layout) -> None:
    """End the site's programs."""
    table = ProcessTable.at(layout.run)
    for name in ("site-web", "site-registry", "site-clock"):
        _stop(layout, table, name)


def site_states(layout: Layout) -> dict[str, bool]:
    """Which of the site's programs run."""
    table = ProcessTable.at(layout.run)
    return {name: table.get(name) is not None for name in ("site-web", "site-registry", "site-clock")}


def _render(name: str, values: dict[str, str]) -> str:
    text = (_TEMPLATES / name).read_text(encoding="utf-8")
    for key, value in values.items():
        text = text.replace(f"@{key}@", value)
    return text


def _start(layout: Layout, table: ProcessTable, service: Service) -> None:
    configuration = layout.site / f"{service.name}.conf"
    write_atomically(configuration, service.configuration)
    if "registry:write" in " ".join(service.sources):
        _give_to_nobody(layout.cache / "registry")
    capability = ["-c", service.capability] if service.capability else []
    sandbox = ["unshare", "--mount", "--propagation", "private", str(_SANDBOX), *capability]
    sources = [*service.sources, f"{configuration}:service.conf"]
    table.start(service.name, [*sandbox, *sources, "--", *service.command], layout.logs / f"{service.name}.log")


def _give_to_nobody(folder: Path) -> None:
    """Let the registry, which runs as nobody, write its store."""
    if folder.owner() != "nobody":
        for path in (folder, *folder.rglob("*")):
            shutil.chown(path, "nobody", "nogroup")


def _stop(layout: Layout, table: ProcessTable, name: str) -> None:
    process = table.get(name)
    if process is not None:
        process.send(signal.SIGTERM)
        process.wait_ended(5)
    end_group(name)
    table.forget(name)
    (layout.run / f"{name}.key").unlink(missing_ok=True)


def _await(layout: Layout, table: ProcessTable, service: Service, address: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if table.get(service.name) is None:
            break
        if _answers(service, address):
            return
        time.sleep(0.1)
    log = layout.logs / f"{service.name}.log"
    tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-8:])
    raise LabError(f"{service.name} does not answer at {address}:{service.port}\n{tail}", log=log)


def _answers(service: Service, address: str) -> bool:
    if service.answers_tcp:
        try:
            socket.create_connection((address, service.port), 1).close()
        except OSError:
            return False
        return True
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as query:
        query.settimeout(1)
        try:
            # an NTP client's packet of version 4
            query.sendto(b"\x23" + bytes(47), (address, service.port))
            return len(query.recv(48)) == 48
        except OSError:
            return False
