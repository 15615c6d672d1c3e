"""A real API server for the tests of stand-ins: etcd, kube-apiserver and kube-controller-manager on loopback."""

import json
import secrets
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from ports import free_port

from lab.toolchain import tool_path

_START_SECONDS = 60


@dataclass(frozen=True)
class ApiServer:
    """A running API server and how to talk to it as an administrator."""

    url: str
    kubeconfig: Path
    client: httpx.Client

    def kubectl(self, *arguments: str, check: bool = True) -> str:
        """Run kubectl and return what it printed."""
        command = [str(tool_path("kubectl")), "--kubeconfig", str(self.kubeconfig), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if check and done.returncode != 0:
            pytest.fail(f"{' '.join(command)}: {done.stderr}")
        return done.stdout + ("" if check else done.stderr)

    def object(self, *arguments: str) -> Any:
        """Read an object with kubectl."""
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))


def _start(name: str, folder: Path, *flags: str) -> subprocess.Popen[bytes]:
    log = (folder / f"{name}.log").open("wb")
    return subprocess.Popen([str(tool_path(name)), *flags], stdout=log, stderr=log)


@pytest.fixture(scope="session")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """A fresh cluster without nodes, for the whole run."""
    folder = tmp_path_factory.mktemp("api-server")
    port, store, peers = free_port(), free_port(), free_port()
    url, token = f"https://127.0.0.1:{port}", secrets.token_urlsafe(32)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    (folder / "accounts.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    (folder / "tokens.csv").write_text(f'{token},administrator,1,"system:masters"\n')
    certificates = folder / "certificates"
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(_kubeconfig(url, certificates / "apiserver.crt", token)))
    store_url, peer_url = f"http://127.0.0.1:{store}", f"http://127.0.0.1:{peers}"
    programs = []
    try:
        programs.append(
            _start(
                "etcd", folder, f"--data-dir={folder}/etcd", "--unsafe-no-fsync",
                f"--listen-client-urls={store_url}", f"--advertise-client-urls={store_url}",
                f"--listen-peer-urls={peer_url}", f"--initial-advertise-peer-urls={peer_url}",
                f"--initial-cluster=default={peer_url}",
            )
        )  # fmt: skip
        programs.append(
            _start(
                "kube-apiserver", folder, f"--etcd-servers={store_url}", "--bind-address=127.0.0.1",
                f"--secure-port={port}", f"--cert-dir={certificates}", "--service-cluster-ip-range=10.0.0.0/24",
                "--authorization-mode=RBAC", f"--token-auth-file={folder}/tokens.csv",
                "--service-account-issuer=https://tests", f"--service-account-key-file={folder}/accounts.key",
                f"--service-account-signing-key-file={folder}/accounts.key",
            )
        )  # fmt: skip
        client = _wait_until_ready(url, certificates / "apiserver.crt", token, programs[-1], folder)
        programs.append(
            _start(
                "kube-controller-manager", folder, f"--kubeconfig={kubeconfig}", "--leader-elect=false",
                f"--service-account-private-key-file={folder}/accounts.key", f"--secure-port={free_port()}",
                "--bind-address=127.0.0.1", "--use-service-account-credentials=false",
            )
        )  # fmt: skip
        yield ApiServer(url, kubeconfig, client)
    finally:
        for program in reversed(programs):
            program.kill()
            program.wait()


def _kubeconfig(url: str, authority: Path, token: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "tests",
        "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "tests"}}],
        "clusters": [{"name": "tests", "cluster": {"server": url, "certificate-authority": str(authority)}}],
        "users": [{"name": "tests", "user": {"token": token}}],
    }


def _wait_until_ready(
    url: str, authority: Path, token: str, program: subprocess.Popen[bytes], folder: Path
) -> httpx.Client:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and program.poll() is None:
        if authority.exists():
            try:
                client = httpx.Client(
                    base_url=url,
                    verify=ssl.create_default_context(cafile=authority),
                    headers={"Authorization": f"Bearer {token}"},
                    trust_env=False,
                )
                if client.get("/readyz").is_success and client.get("/api/v1/namespaces/default").is_success:
                    return client
            except (httpx.HTTPError, OSError):
                pass
        time.sleep(0.3)
    tail = (folder / "kube-apiserver.log").read_text(errors="replace")[-2000:]
    pytest.fail(f"kube-apiserver did not become ready in {_START_SECONDS} s; its log ends: {tail}")
