"""A real etcd and API server for one test module, reachable from the test's router namespace over a link of its own."""

import base64
import datetime as dt
import ipaddress
import json
import os
import ssl
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from ports import free_port
from standins.network_policy.topology import run

from lab.standins import network_policy_agent
from lab.toolchain import tool_path

HOST_SIDE, ROUTER_SIDE = "169.254.77.1", "169.254.77.2"
AGENT_USER = "llmaas:network-policy-agent"
START_SECONDS = 60


class ControlPlane:
    """etcd and kube-apiserver with certificates of their own authority."""

    def __init__(self, folder: Path, router: str) -> None:
        self.folder, self._router = folder, router
        self._link = f"npl{os.getpid()}"
        self._etcd_port, self._port = free_port(), free_port()
        self._etcd: subprocess.Popen[bytes] | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._authority = _Authority(folder)

    @property
    def url(self) -> str:
        """Where the API is."""
        return f"https://{HOST_SIDE}:{self._port}"

    def start(self) -> None:
        """Connect the router, start both programs, grant the agent its rights."""
        run("ip", "link", "add", self._link, "type", "veth", "peer", "api0", "netns", self._router)
        run("ip", "address", "add", f"{HOST_SIDE}/30", "dev", self._link)
        run("ip", "link", "set", self._link, "up")
        run("ip", "-n", self._router, "address", "add", f"{ROUTER_SIDE}/30", "dev", "api0")
        run("ip", "-n", self._router, "link", "set", "api0", "up")
        client, peer = f"http://127.0.0.1:{self._etcd_port}", f"http://127.0.0.1:{free_port()}"
        self._etcd = self._spawn(
            "etcd",
            f"--data-dir={self.folder}/etcd",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",
        )
        self.start_server()
        for document in yaml.safe_load_all((Path(network_policy_agent.__file__).parent / "rbac.yaml").read_text()):
            plural = f"{document['kind'].lower()}s"
            self.call("POST", f"/apis/rbac.authorization.k8s.io/v1/{plural}", document)

    def start_server(self) -> None:
        """Start the API server and wait until it answers."""
        certificate, key = self._authority.issue("server", "kube-apiserver", address=HOST_SIDE)
        self._server = self._spawn(
            "kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
            f"--bind-address={HOST_SIDE}",
            f"--secure-port={self._port}",
            f"--tls-cert-file={certificate}",
            f"--tls-private-key-file={key}",
            "--tls-min-version=VersionTLS13",
            f"--client-ca-file={self._authority.certificate}",
            "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--disable-admission-plugins=ServiceAccount",
            "--watch-cache=true",
        )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._server.poll() is None:
            try:
                if self.request("GET", "/readyz").status_code == httpx.codes.OK:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.2)
        raise AssertionError((self.folder / "kube-apiserver.log").read_text()[-2000:])

    def stop_server(self) -> None:
        """End the API server without warning."""
        assert self._server is not None
        self._server.kill()
        self._server.wait()

    def compact(self) -> None:
        """Make etcd forget all versions but the newest."""
        etcdctl = [str(tool_path("etcdctl")), f"--endpoints=http://127.0.0.1:{self._etcd_port}"]
        status = json.loads(run(*etcdctl, "endpoint", "status", "-w", "json"))
        run(*etcdctl, "compact", str(status[0]["Status"]["header"]["revision"]))

    def stop(self) -> None:
        """End both and take the link away."""
        for process in (self._server, self._etcd):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()
        if (Path("/sys/class/net") / self._link).exists():
            run("ip", "link", "del", self._link)

    def agent_kubeconfig(self) -> Path:
        """The agent's own way in, as Ansible writes it."""
        certificate, key = self._authority.issue("agent", AGENT_USER)
        path = self.folder / "agent.kubeconfig"
        user = {"client-certificate-data": _base64(certificate), "client-key-data": _base64(key)}
        cluster = {"server": self.url, "certificate-authority-data": _base64(self._authority.certificate)}
        path.write_text(
            json.dumps(
                {
                    "current-context": "lab",
                    "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "agent"}}],
                    "clusters": [{"name": "lab", "cluster": cluster}],
                    "users": [{"name": "agent", "user": user}],
                }
            )
        )
        return path

    def request(self, method: str, path: str, body: Mapping[str, Any] | None = None, user: str = "") -> httpx.Response:
        """One call as the administrator, or as another user of the authority."""
        name, organisation = (user, "") if user else ("admin", "system:masters")
        certificate, key = self._authority.issue(name.replace(":", "-"), name, organisation=organisation)
        context = ssl.create_default_context(cafile=str(self._authority.certificate))
        context.load_cert_chain(certificate, key)
        content_type = "application/merge-patch+json" if method == "PATCH" else "application/json"
        with httpx.Client(verify=context, base_url=self.url, trust_env=False) as client:
            return client.request(
                method,
                path,
                content=json.dumps(body) if body is not None else None,
                headers={"content-type": content_type},
            )

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """One call that must succeed."""
        answer = self.request(method, path, body)
        assert answer.is_success, answer.text
        return answer.json()

    def _spawn(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{program}.log").open("ab") as log:
            return subprocess.Popen([tool_path(program), *arguments], stdout=log, stderr=log)


class _Authority:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        self.certificate = folder / "ca.crt"
        self._write(self.certificate, self._sign(self._name, self._key, is_authority=True))

    def issue(self, file: str, name: str, organisation: str = "", address: str = "") -> tuple[Path, Path]:
        """A certificate and key for a name; made once per file name."""
        certificate, key_path = self._folder / f"{file}.crt", self._folder / f"{file}.key"
        if not certificate.exists():
            key = ec.generate_private_key(ec.SECP256R1())
            parts = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
            if organisation:
                parts.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation))
            self._write(certificate, self._sign(x509.Name(parts), key, address=address))
            encoding = (
                serialization.Encoding.PEM,
                serialization.PrivateFormat.TraditionalOpenSSL,
                serialization.NoEncryption(),
            )
            key_path.write_bytes(key.private_bytes(*encoding))
        return certificate, key_path

    def _sign(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, address: str = "", *, is_authority: bool = False
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        builder = x509.CertificateBuilder(
            issuer_name=self._name,
            subject_name=subject,
            public_key=key.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=now - dt.timedelta(hours=1),
            not_valid_after=now + dt.timedelta(days=1),
        ).add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        if address:
            names = [x509.IPAddress(ipaddress.ip_address(address))]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._key, hashes.SHA256())

    def _write(self, path: Path, certificate: x509.Certificate) -> None:
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
