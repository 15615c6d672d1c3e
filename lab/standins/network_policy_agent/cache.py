"""A copy of the cluster's state, kept by one listing and watching thread per kind of object."""

import http.client
import json
import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from .kube_client import ApiError, KubeClient, KubeconfigError
from .world import World, namespace_from_api, node_from_api, pod_from_api, policy_from_api

LOG = logging.getLogger("network_policy_agent")

FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Kind:
    """Where the objects of one kind are and what is kept of each; a reader's None means: not there (yet)."""

    resource: str
    read: Callable[[Mapping[str, Any]], Any]


KINDS: Final[dict[str, Kind]] = {
    "pods": Kind("/api/v1/pods", pod_from_api),
    "namespaces": Kind("/api/v1/namespaces", namespace_from_api),
    "policies": Kind("/apis/networking.k8s.io/v1/networkpolicies", policy_from_api),
    "nodes": Kind("/api/v1/nodes", node_from_api),
}


class Cache:
    """Holds what was last seen. ``on_change`` is called, from any thread, after something that matters changed."""

    def __init__(self, client: KubeClient, on_change: Callable[[], None]) -> None:
        self._client = client
        self._on_change = on_change
        self._lock = threading.Lock()
        self._objects: dict[str, dict[str, Any]] = {}

    def start(self) -> None:
        """Begin to list and watch; the threads end with the process."""
        for name in KINDS:
            threading.Thread(target=self._follow_forever, args=(name,), name=name, daemon=True).start()

    def world(self) -> World | None:
        """The cluster as last seen, or None until every kind was listed once."""
        with self._lock:
            if len(self._objects) < len(KINDS):
                return None
            return World(**{name: dict(objects) for name, objects in self._objects.items()})

    def _follow_forever(self, name: str) -> None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            started = time.monotonic()
            try:
                self._follow(name)
            except (OSError, http.client.HTTPException, ApiError, KubeconfigError, json.JSONDecodeError) as error:
                LOG.warning("%s: %s; listing again in about %.1f s", name, error, pause)
            if time.monotonic() - started > LONGEST_PAUSE_SECONDS:
                pause = FIRST_PAUSE_SECONDS
            # Spread, so that all hosts do not come back to a restarted API server at once.
            time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def _follow(self, name: str) -> None:
        """List once, then watch until the server no longer remembers where we were or a connection breaks."""
        kind = KINDS[name]
        items, version = self._client.list(kind.resource)
        read = {_key(item): kind.read(item) for item in items}
        self._replace(name, {key: value for key, value in read.items() if value is not None})
        while True:
            # A server that ends every watch at once must not be asked in a tight loop.
            time.sleep(FIRST_PAUSE_SECONDS)
            try:
                for event, body in self._client.watch(kind.resource, version):
                    version = body["metadata"]["resourceVersion"]
                    if event != "BOOKMARK":
                        self._change(name, _key(body), None if event == "DELETED" else kind.read(body))
            except ApiError as error:
                if error.gone:
                    return
                raise

    def _replace(self, name: str, objects: dict[str, Any]) -> None:
        with self._lock:
            changed = self._objects.get(name) != objects
            self._objects[name] = objects
        if changed:
            self._on_change()

    def _change(self, name: str, key: str, value: Any) -> None:
        with self._lock:
            objects = self._objects[name]
            if objects.get(key) == value:
                return
            if value is None:
                del objects[key]
            else:
                objects[key] = value
        self._on_change()


def _key(body: Mapping[str, Any]) -> str:
    metadata = body["metadata"]
    return f"{metadata['namespace']}/{metadata['name']}" if metadata.get("namespace") else str(metadata["name"])
