"""Lists and watches objects of a Kubernetes API server over TLS 1.3 with a client certificate."""

import base64
import http.client
import json
import os
import ssl
import tempfile
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PAGE = 200
WATCH_SECONDS = 300
# Longer than the server lets a watch live: only a dead connection reaches it.
SILENCE_SECONDS = WATCH_SECONDS + 30


class ApiError(Exception):
    """An answer that is no success; ``gone`` when the resource version is too old to watch from."""

    def __init__(self, status: int, text: str) -> None:
        """Keep the HTTP status beside the text."""
        super().__init__(f"the API server answered {status}: {text[:300]}")
        self.gone = status == http.client.GONE


class KubeconfigError(ValueError):
    """A kubeconfig that cannot be used, with the field and the remedy."""


@dataclass(frozen=True, slots=True)
class Kubeconfig:
    """Where the API server is and how to be known to it; each secret is bytes in PEM or a path to it."""

    server: str
    authority: bytes
    certificate: bytes
    key: bytes


def read_kubeconfig(path: Path) -> Kubeconfig:
    """The current context of a kubeconfig written as JSON (which is YAML that the standard library can read).

    Raises:
        KubeconfigError: naming the field that is missing or wrong.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise KubeconfigError(f"{path}: write this kubeconfig as JSON, hosts have no YAML reader ({error})") from error
    try:
        context = _named(content, "contexts", content["current-context"])["context"]
        cluster = _named(content, "clusters", context["cluster"])["cluster"]
        user = _named(content, "users", context["user"])["user"]
        return Kubeconfig(
            cluster["server"],
            _material(path, cluster, "certificate-authority"),
            _material(path, user, "client-certificate"),
            _material(path, user, "client-key"),
        )
    except KeyError as error:
        raise KubeconfigError(f"{path}: {error.args[0]} is missing") from error


def _named(content: Mapping[str, Any], kind: str, name: str) -> Mapping[str, Any]:
    for entry in content[kind]:
        if entry["name"] == name:
            found: Mapping[str, Any] = entry
            return found
    raise KeyError(f"{kind}[name={name}]")


def _material(path: Path, entry: Mapping[str, Any], field: str) -> bytes:
    if f"{field}-data" in entry:
        return base64.b64decode(str(entry[f"{field}-data"]))
    return (path.parent / str(entry[field])).read_bytes()


class KubeClient:
    """One API server. Certificates are read anew for every connection, so a renewed one is taken without a restart."""

    def __init__(self, kubeconfig: Path) -> None:
        self._path = kubeconfig

    def list(self, resource: str) -> tuple[list[Mapping[str, Any]], str]:
        """All objects under an API path such as ``/api/v1/pods``, and the version to watch from."""
        items: list[Mapping[str, Any]] = []
        connection = self._connect()
        try:
            query = {"limit": str(PAGE)}
            while True:
                with _get(connection, resource, query) as response:
                    page = json.load(response)
                items += page.get("items") or []
                metadata = page["metadata"]
                if not metadata.get("continue"):
                    return items, metadata["resourceVersion"]
                query["continue"] = metadata["continue"]
        finally:
            connection.close()

    def watch(self, resource: str, version: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Changes since a version as (ADDED, MODIFIED, DELETED or BOOKMARK, object), until the server ends the watch.

        Raises:
            ApiError: when the server reports one; ``gone`` means to list again.
            OSError: when the connection breaks.
        """
        query = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        connection = self._connect()
        try:
            with _get(connection, resource, query) as response:
                for line in response:
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        status = event["object"]
                        raise ApiError(int(status.get("code") or 0), str(status.get("message")))
                    yield event["type"], event["object"]
        finally:
            connection.close()

    def _connect(self) -> http.client.HTTPSConnection:
        config = read_kubeconfig(self._path)
        context = ssl.create_default_context(cadata=config.authority.decode())
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        # The ssl module takes a client certificate only from a file; this one is gone before the first packet.
        descriptor, name = tempfile.mkstemp()
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(config.certificate + b"\n" + config.key)
            context.load_cert_chain(name)
        finally:
            Path(name).unlink()
        address = urllib.parse.urlsplit(config.server)
        if address.scheme != "https" or not address.hostname:
            raise KubeconfigError(f"{self._path}: server {config.server!r} must be https://HOST:PORT")
        return http.client.HTTPSConnection(
            address.hostname, address.port or 443, context=context, timeout=SILENCE_SECONDS
        )


def _get(connection: http.client.HTTPSConnection, resource: str, query: Mapping[str, str]) -> http.client.HTTPResponse:
    headers = {"Accept": "application/json", "User-Agent": "llmaas-network-policy-agent"}
    connection.request("GET", f"{resource}?{urllib.parse.urlencode(query)}", headers=headers)
    response = connection.getresponse()
    if response.status != http.client.OK:
        raise ApiError(response.status, response.read().decode(errors="replace"))
    return response
