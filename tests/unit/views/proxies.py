"""The rendered configurations as a HAProxy of this machine runs them: other ports, other folders, servers at hand."""

import re
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from llmaas.views import haproxy


def placed(configuration: str, certificates: Path) -> str:
    """Certificates where the test has them."""
    return configuration.replace(haproxy.CERTIFICATES_ROOT, str(certificates))


@contextmanager
def running(configuration: str, folder: Path, port: int) -> Iterator[int]:
    """HAProxy, once it answers at ``port``; gives its process id."""
    file = folder / "haproxy.cfg"
    file.write_text(configuration)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(["haproxy", "-db", "-f", file], stdout=log, stderr=log)
        try:
            for _ in range(100):
                try:
                    httpx.get(f"https://127.0.0.1:{port}/alive", verify=False)  # noqa: S501 - as the kubelet asks
                    break
                except httpx.TransportError:
                    assert process.poll() is None, (folder / "log").read_text()
                    time.sleep(0.05)
            yield process.pid
        finally:
            process.kill()
            process.wait()


def trusting(certificates: Path, client: str | None = None) -> ssl.SSLContext:
    """Trusts the environment's authority, and shows the certificate called ``client``."""
    context = ssl.create_default_context(cafile=certificates / "edge" / "ca.crt")
    if client:
        context.load_cert_chain(certificates / client / "tls.pem")
    return context


def with_servers(text: str, backend: str, ports: list[int]) -> str:
    """Tests have no cluster's name service: servers at fixed addresses, everything else as rendered."""
    pattern = rf"( +)server-template {backend} \S+ \S+ resolvers cluster resolve-prefer ipv4 init-addr none (.*)"
    lines = "\n".join(rf"\1server replica-{port} 127.0.0.1:{port} \2" for port in ports)
    return re.sub(pattern, lines, text)
