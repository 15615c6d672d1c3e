"""Reads a kubeconfig: which API server, trusted how, as whom.

Programs (`exec`) that hand out credentials are not supported; certificates, tokens and passwords are.
"""

import base64
import os
import shutil
import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lab.standins.kubernetes_provider.errors import ProviderError


@dataclass(frozen=True)
class Connection:
    """How to reach an API server."""

    server: str
    namespace: str
    tls: ssl.SSLContext
    headers: dict[str, str]
    tls_server_name: str | None


def load(kubeconfig: str, context: str, cluster: str) -> Connection:
    """Load a kubeconfig.

    Args:
        kubeconfig: its content, or its path; empty for `KUBECONFIG` and then `~/.kube/config`.
        context: name of the context to use; empty for the current one.
        cluster: name of the cluster to use; empty for that of the context.

    Raises:
        ProviderError: it cannot be read or names something that it does not hold.
    """
    document, folder = _read(kubeconfig)
    selected = context or document.get("current-context") or ""
    entry = _named(document, "contexts", selected, "context")
    described = _named(document, "clusters", cluster or entry.get("cluster", ""), "cluster")
    user = _named(document, "users", entry["user"], "user") if entry.get("user") else {}
    if not described.get("server"):
        raise ProviderError(f"kubeconfig: cluster {entry.get('cluster')!r} has no server")
    return Connection(
        server=str(described["server"]).rstrip("/"),
        namespace=entry.get("namespace") or "",
        tls=_tls(described, user, folder),
        headers=_headers(user, folder),
        tls_server_name=described.get("tls-server-name"),
    )


def server_of(kubeconfig: str, context: str) -> str:
    """Give the address of the API server that a kubeconfig names, empty if it cannot be told."""
    try:
        document, _ = _read(kubeconfig)
        entry = _named(document, "contexts", context or document.get("current-context") or "", "context")
        return str(_named(document, "clusters", entry.get("cluster", ""), "cluster").get("server", ""))
    except ProviderError:
        return ""


def _read(kubeconfig: str) -> tuple[dict[str, Any], Path]:
    text, folder = kubeconfig, Path.cwd()
    if "\n" not in kubeconfig and not kubeconfig.lstrip().startswith("{"):
        # KUBECONFIG may list several files; the first that exists is used.
        listed = kubeconfig or os.environ.get("KUBECONFIG", "") or str(Path.home() / ".kube" / "config")
        paths = [Path(part).expanduser() for part in listed.split(os.pathsep) if part]
        found = next((path for path in paths if path.exists()), None)
        if found is None:
            raise ProviderError(
                f"no kubeconfig at {listed}: set the provider's kubeconfig argument or the variable KUBECONFIG"
            )
        text, folder = found.read_text(), found.resolve().parent
    try:
        document = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - safe loaders
    except yaml.YAMLError as error:
        raise ProviderError(f"the kubeconfig is not YAML: {error}") from error
    if not isinstance(document, dict):
        raise ProviderError("the kubeconfig is not a mapping")
    return document, folder


def _named(document: dict[str, Any], section: str, name: str, what: str) -> dict[str, Any]:
    for entry in document.get(section) or []:
        if entry.get("name") == name:
            return dict(entry.get(what) or {})
    known = ", ".join(str(entry.get("name")) for entry in document.get(section) or []) or "none"
    raise ProviderError(f"kubeconfig: no {what} {name!r}; there are: {known}")


def _tls(cluster: dict[str, Any], user: dict[str, Any], folder: Path) -> ssl.SSLContext:
    authority = _material(cluster, "certificate-authority", folder)
    try:
        tls = ssl.create_default_context(cadata=authority.decode() if authority else None)
        if cluster.get("insecure-skip-tls-verify"):
            tls.check_hostname = False
            tls.verify_mode = ssl.CERT_NONE
        certificate, key = _material(user, "client-certificate", folder), _material(user, "client-key", folder)
        if certificate and key:
            # OpenSSL reads client certificates from files only.
            place = Path(tempfile.mkdtemp(prefix="kubernetes-provider-"))
            pair = place / "client.pem"
            pair.touch(mode=0o600)
            pair.write_bytes(certificate + b"\n" + key)
            try:
                tls.load_cert_chain(pair)
            finally:
                shutil.rmtree(place, ignore_errors=True)
    except (ssl.SSLError, ValueError) as error:
        raise ProviderError(f"kubeconfig: a certificate or key cannot be used: {error}") from error
    return tls


def _material(section: dict[str, Any], key: str, folder: Path) -> bytes:
    if encoded := section.get(f"{key}-data"):
        return base64.b64decode(str(encoded))
    if named := section.get(key):
        path = folder / str(named)
        try:
            return path.read_bytes()
        except OSError as error:
            raise ProviderError(f"kubeconfig: {key}: {error}") from error
    return b""


def _headers(user: dict[str, Any], folder: Path) -> dict[str, str]:
    if "exec" in user or "auth-provider" in user:
        raise ProviderError(
            "kubeconfig: users with exec or auth-provider are not supported; use a certificate or token"
        )
    token = user.get("token") or ""
    if not token and user.get("tokenFile"):
        token = (folder / user["tokenFile"]).read_text().strip()
    if token:
        return {"Authorization": f"Bearer {token}"}
    if user.get("username"):
        pair = f"{user['username']}:{user.get('password', '')}".encode()
        return {"Authorization": "Basic " + base64.b64encode(pair).decode()}
    return {}
