"""The API server over REST: one connection pool, discovery remembered."""

import json
import threading
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from lab.standins.kubernetes_provider.errors import ApiError, ClusterUnreachableError, UnknownKindError
from lab.standins.kubernetes_provider.kubeconfig import Connection
from lab.standins.kubernetes_provider.objects import Kind

Warn = Callable[[str], None]

_REQUEST_SECONDS = 30.0
_CONNECTIONS = 32


class Cluster:
    """One API server."""

    def __init__(self, connection: Connection) -> None:
        """Prepare the connection pool; nothing is sent yet."""
        self.server = connection.server
        self.namespace = connection.namespace
        extensions = {"sni_hostname": connection.tls_server_name} if connection.tls_server_name else {}
        self._extensions = extensions
        self._client = httpx.Client(
            base_url=connection.server,
            headers={"Accept": "application/json", "User-Agent": "pulumi-kubernetes", **connection.headers},
            verify=connection.tls,
            timeout=_REQUEST_SECONDS,
            limits=httpx.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS),
            # Retries of the connection only: a request that was sent is never sent twice.
            transport=httpx.HTTPTransport(
                verify=connection.tls,
                retries=2,
                limits=httpx.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS),
            ),
            trust_env=False,
        )
        self._lock = threading.Lock()
        self._served: dict[str, dict[str, dict[str, Any]]] = {}

    def is_namespaced(self, kind: Kind) -> bool:
        """Tell whether objects of a kind live in namespaces.

        Raises:
            UnknownKindError: the cluster does not serve the kind (yet).
        """
        known = kind.is_namespaced()
        return bool(self._description(kind)["namespaced"]) if known is None else known

    def forget_kinds(self, api_version: str) -> None:
        """Ask the server again, the next time, which kinds a version has."""
        with self._lock:
            self._served.pop(api_version, None)

    def get(self, kind: Kind, namespace: str, name: str) -> dict[str, Any]:
        """Read an object."""
        return self._request("GET", self._path(kind, namespace, name))

    def list(self, kind: Kind, namespace: str, **query: str) -> list[dict[str, Any]]:
        """Read the objects of a kind in a namespace."""
        items = self._request("GET", self._path(kind, namespace), params=query).get("items") or []
        return [{"apiVersion": kind.api_version, "kind": kind.name, **item} for item in items]

    def apply(  # noqa: PLR0913 - what server-side apply needs to know
        self, kind: Kind, body: Mapping[str, Any], *, manager: str, force: bool, dry_run: bool, warn: Warn
    ) -> dict[str, Any]:
        """Apply an object server-side, as the field manager `manager`; `warn` gets the server's warnings."""
        metadata = body["metadata"]
        query = {"fieldManager": manager, "force": str(force).lower(), "fieldValidation": "Warn"}
        if dry_run:
            query["dryRun"] = "All"
        return self._request(
            "PATCH",
            self._path(kind, metadata.get("namespace") or "", metadata["name"]),
            params=query,
            content=json.dumps(body),
            headers={"Content-Type": "application/apply-patch+yaml"},
            warn=warn,
        )

    def create(self, kind: Kind, body: Mapping[str, Any], *, manager: str, dry_run: bool) -> dict[str, Any]:
        """Create an object whose name the server makes (`generateName`)."""
        query = {"fieldManager": manager, "fieldValidation": "Warn"}
        if dry_run:
            query["dryRun"] = "All"
        path = self._path(kind, body["metadata"].get("namespace") or "")
        return self._request("POST", path, params=query, json=body)

    def delete(self, kind: Kind, namespace: str, name: str, propagation: str) -> None:
        """Ask for an object's deletion."""
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
        self._request("DELETE", self._path(kind, namespace, name), json=options)

    def _path(self, kind: Kind, namespace: str, name: str = "") -> str:
        described = self._description(kind)
        parts = ["/apis" if kind.group else "/api", kind.api_version]
        if described["namespaced"]:
            parts += ["namespaces", namespace or "default"]
        return "/".join([*parts, described["name"], *([name] if name else [])])

    def _description(self, kind: Kind) -> dict[str, Any]:
        with self._lock:
            kinds = self._served.get(kind.api_version)
        if kinds is None or kind.name not in kinds:
            kinds = self._discover(kind)
            with self._lock:
                self._served[kind.api_version] = kinds
        if kind.name not in kinds:
            raise UnknownKindError(f"no matches for kind {kind.name!r} in version {kind.api_version!r}")
        return kinds[kind.name]

    def _discover(self, kind: Kind) -> dict[str, dict[str, Any]]:
        root = "/apis" if kind.group else "/api"
        try:
            listed = self._request("GET", f"{root}/{kind.api_version}")["resources"]
        except ApiError as error:
            if error.status == 404:
                raise UnknownKindError(f"no matches for kind {kind.name!r} in version {kind.api_version!r}") from error
            raise
        # Entries with a slash are parts of objects, such as `pods/log`.
        return {entry["kind"]: entry for entry in listed if "/" not in entry["name"]}

    def _request(self, method: str, path: str, *, warn: Warn | None = None, **options: Any) -> dict[str, Any]:
        try:
            answer = self._client.request(method, path, extensions=dict(self._extensions), **options)
        except httpx.HTTPError as error:
            why = str(error) or type(error).__name__
            raise ClusterUnreachableError(
                f"configured Kubernetes cluster is unreachable: {method} {self.server}{path}: {why}"
            ) from error
        if answer.is_success:
            for header in answer.headers.get_list("warning"):
                if warn:
                    warn(_warning_text(header))
            return dict(answer.json())
        raise _api_error(answer)


def _api_error(answer: httpx.Response) -> ApiError:
    try:
        status = answer.json()
    except ValueError:
        status = {}
    reason = status.get("reason") or answer.reason_phrase
    message = status.get("message") or answer.text.strip() or f"HTTP {answer.status_code} {answer.reason_phrase}"
    return ApiError(answer.status_code, reason, message)


def _warning_text(header: str) -> str:
    r"""Take the text out of a header such as `299 - "unknown field \"spec.x\""`."""
    text = header.partition(" - ")[2].strip() or header
    return text.strip('"').replace('\\"', '"')
