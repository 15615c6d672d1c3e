"""The site's three programs: nginx for packages and weights, the image registry, and the clock."""

import hashlib
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from lab.errors import LabError
from lab.layout import Layout
from lab.site.packages import mirror_folder, publish_packages
from lab.spec import LabSpec
from llmaas.files import write_atomically
from llmaas.materials import issue_site_certificate
from llmaas.pki import Leaf
from llmaas.secrets import SecretStore
from llmaas.views.time_keys import SECRET, key_file

_SANDBOX: Final = Path(__file__).with_name("sandbox.sh")
_ASK: Final = Path(__file__).with_name("ask.py")
_TEMPLATES: Final = Path(__file__).parent / "templates"
_START_SECONDS: Final = 20
WEB: Final = "site-web"
REGISTRY: Final = "site-registry"
CLOCK: Final = "site-clock"
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
    protocol: Literal["tcp", "ntp"] = "tcp"

    def key(self) -> str:
        """Changes with all that it is started with: then it must be started again."""
        content = repr((self.command, self.configuration, self.sources))
        return hashlib.sha256(b"\0".join([content.encode(), *(path.read_bytes() for path in self.files)])).hexdigest()


def site_services(layout: Layout, spec: LabSpec, environment: str, names: Iterable[str]) -> tuple[Service, ...]:
    """The site's programs: certificate and time key are the environment's, the packages are signed by then.

    Args:
        layout: where their files lie.
        spec: where they answer.
        environment: whose certificate and key they have.
        names: under which hosts reach them.

    Raises:
        LabError: the packages could not be fetched or signed.
    """
    leaf = issue_site_certificate(environment, names, spec.site_address)
    served = publish_packages(layout, layout.logs / "packages.log")
    keys = layout.site / "clock.keys"
    write_atomically(keys, key_file(SecretStore.open(environment).key(SECRET)), mode=0o600)
    return _services(layout, spec, leaf, served, keys)


def _services(layout: Layout, spec: LabSpec, leaf: Leaf, served: Path, keys: Path) -> tuple[Service, ...]:
    values = {"address": spec.site_address, "network": str(spec.network)}
    tls = (f"{leaf.certificate}:tls/tls.crt", f"{leaf.key}:tls/tls.key")
    (layout.cache / "models").mkdir(exist_ok=True)
    (layout.cache / "registry").mkdir(exist_ok=True)
    return (
        Service(
            WEB,
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
            REGISTRY,
            ("docker-registry", "serve", "/srv/service.conf"),
            _render("registry.yaml", values),
            (*tls, f"{layout.cache / 'registry'}:registry:write"),
            (leaf.certificate,),
            REGISTRY_PORT,
        ),
        Service(
            CLOCK,
            # -x: it serves the machine's clock and leaves that as it is; -U: it is not started as root
            ("chronyd", "-d", "-x", "-U", "-f", "/srv/service.conf"),
            _render("chrony.conf", values),
            (f"{keys}:chrony.keys",),
            (keys,),
            CLOCK_PORT,
            capability="net_bind_service",
            protocol="ntp",
        ),
    )


def sandboxed(layout: Layout, service: Service) -> list[str]:
    """Write the program's configuration; the command that becomes it, as nobody and among its own files alone."""
    configuration = layout.site / f"{service.name}.conf"
    write_atomically(configuration, service.configuration)
    if "registry:write" in " ".join(service.sources):
        _give_to_nobody(layout.cache / "registry")
    capability = ["-c", service.capability] if service.capability else []
    sandbox = ["unshare", "--mount", "--propagation", "private", str(_SANDBOX), *capability]
    return [*sandbox, *service.sources, f"{configuration}:service.conf", "--", *service.command]


def await_answer(
    service: Service, address: str, log: Path, runs: Callable[[], bool], *, prefix: Sequence[str] = ()
) -> None:
    """Wait until a program that was just started answers.

    Args:
        service: the program.
        address: where it answers.
        log: what it printed.
        runs: whether it has not ended.
        prefix: what to put before a command so that it is run in the site's network.

    Raises:
        LabError: it ended, or does not answer; the text names it and has the end of its log.
    """
    question = [*prefix, sys.executable, "-I", str(_ASK), service.protocol, address, str(service.port)]
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and runs():
        if subprocess.run(question, check=False).returncode == 0:
            return
        time.sleep(0.1)
    tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-8:])
    raise LabError(f"{service.name} does not answer at {address}:{service.port}\n{tail}", log=log)


def _render(name: str, values: dict[str, str]) -> str:
    text = (_TEMPLATES / name).read_text(encoding="utf-8")
    for key, value in values.items():
        text = text.replace(f"@{key}@", value)
    return text


def _give_to_nobody(folder: Path) -> None:
    """Let the registry, which runs as nobody, write its store."""
    if folder.owner() != "nobody":
        for path in (folder, *folder.rglob("*")):
            shutil.chown(path, "nobody", "nogroup")
