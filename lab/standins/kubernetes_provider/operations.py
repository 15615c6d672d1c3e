"""Creates, updates, reads and deletes objects on a cluster, for one resource at a time."""

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lab.standins.kubernetes_provider import live
from lab.standins.kubernetes_provider.cluster import Cluster
from lab.standins.kubernetes_provider.configuration import Configuration
from lab.standins.kubernetes_provider.errors import (
    ApiError,
    InitializationFailedError,
    NotReadyError,
    ProviderError,
    UnknownKindError,
)
from lab.standins.kubernetes_provider.objects import (
    Kind,
    annotation,
    identifier,
    is_set,
    metadata_of,
    namespace_of,
    parse_identifier,
)
from lab.standins.kubernetes_provider.values import has_unknown
from lab.standins.kubernetes_provider.waiting import Waiter

_RETRY_PAUSES_SECONDS = (0.5, 1.0, 2.0, 4.0, 8.0)
_OVERLOADED = {429, 500, 503, 504}


@dataclass(frozen=True)
class Resource:
    """One resource: what it is called in the program, what kind of object it is, how to talk to its user."""

    urn: str
    kind: Kind
    warn: Callable[[str], None]


@dataclass(frozen=True)
class Operations:
    """What can be done to a resource's object."""

    resource: Resource
    cluster: Cluster
    configuration: Configuration
    waiter: Waiter

    def preview(self, inputs: dict[str, Any], state: Mapping[str, Any]) -> dict[str, Any]:
        """Tell, by a dry run, the outputs that an update would give; the inputs themselves where it cannot be told."""
        manager = self._manager(inputs, state)
        if has_unknown(inputs):
            return {**inputs, live.FIELD_MANAGER: manager, live.INITIAL_API_VERSION: self.resource.kind.api_version}
        try:
            if not state and self._exists(inputs):
                # The object to be replaced is still there: applying to it would say nothing about the new one.
                return inputs
            seen = self._apply(inputs, manager, dry_run=True)
        except UnknownKindError:
            return inputs
        except ApiError as error:
            if error.status == 404 and not state:
                # Its namespace is created by the same update.
                return inputs
            raise self._explained("be previewed", error) from error
        make = live.outputs if state else live.preview_outputs
        return make(self.resource.kind, inputs, seen, manager)

    def create(self, inputs: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Create the object, wait until it is ready, and return identifier and outputs."""
        manager = self._manager(inputs, {})
        try:
            self._refuse_existing(inputs)
            seen = self._patiently(lambda: self._apply(inputs, manager, dry_run=False))
        except (ApiError, UnknownKindError) as error:
            raise self._explained("be created", error) from error
        return identifier(seen), self._ready(inputs, seen, manager)

    def update(self, inputs: dict[str, Any], state: Mapping[str, Any]) -> dict[str, Any]:
        """Change the object, wait until it is ready, and return its outputs."""
        manager = self._manager(inputs, state)
        try:
            seen = self._patiently(lambda: self._apply(inputs, manager, dry_run=False))
        except (ApiError, UnknownKindError) as error:
            raise self._explained("be updated", error) from error
        return self._ready(inputs, seen, manager)

    def read(
        self, name: str, inputs: dict[str, Any], state: Mapping[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Read the object with the identifier `name`; None if it does not exist.

        Returns:
            Its outputs, and the inputs that it corresponds to.
        """
        namespace, plain_name = parse_identifier(name)
        try:
            seen = self.cluster.get(self.resource.kind, namespace, plain_name)
        except UnknownKindError:
            return None
        except ApiError as error:
            if error.status == 404:
                return None
            raise self._explained("be read", error) from error
        kind = self.resource.kind
        known = live.refreshed_inputs(kind, inputs, seen) if inputs else live.imported_inputs(kind, seen)
        return live.outputs(kind, known, seen, self._manager(known, state)), known

    def delete(self, name: str, state: Mapping[str, Any]) -> None:
        """Delete the object and wait until it is gone; one that does not exist is no error."""
        namespace, plain_name = parse_identifier(name)
        propagation = annotation(state, "pulumi.com/deletionPropagationPolicy").capitalize() or "Foreground"
        try:
            self.cluster.delete(self.resource.kind, namespace, plain_name, propagation)
        except UnknownKindError:
            return
        except ApiError as error:
            if error.status == 404:
                return
            raise self._explained("be deleted", error) from error
        if not is_set(state, "pulumi.com/skipAwait"):
            self.waiter.until_gone(self.resource.kind, namespace, plain_name)

    def _manager(self, inputs: Mapping[str, Any], state: Mapping[str, Any]) -> str:
        chosen = annotation(inputs, "pulumi.com/patchFieldManager")
        stored = state.get(live.FIELD_MANAGER)
        return chosen or (stored if isinstance(stored, str) else "") or f"pulumi-kubernetes-{secrets.token_hex(4)}"

    def _apply(self, inputs: dict[str, Any], manager: str, *, dry_run: bool) -> dict[str, Any]:
        kind = self.resource.kind
        sent = live.body(kind, inputs, namespaced=self.cluster.is_namespaced(kind))
        if not sent["metadata"].get("name"):
            return self.cluster.create(kind, sent, manager=manager, dry_run=dry_run)
        force = is_set(inputs, "pulumi.com/patchForce") or self.configuration.patch_force
        return self.cluster.apply(kind, sent, manager=manager, force=force, dry_run=dry_run, warn=self.resource.warn)

    def _exists(self, inputs: dict[str, Any]) -> bool:
        name = metadata_of(inputs).get("name")
        if not name:
            return False
        try:
            self.cluster.get(self.resource.kind, namespace_of(inputs) or "", name)
        except UnknownKindError:
            return False
        except ApiError as error:
            if error.status == 404:
                return False
            raise
        return True

    def _refuse_existing(self, inputs: dict[str, Any]) -> None:
        """Fail if the object exists: applying would take over what somebody else made, and later delete it."""
        if self.configuration.upsert or not self._exists(inputs):
            return
        raise ApiError(
            409,
            "AlreadyExists",
            f"{self.resource.kind} {identifier(inputs)} already exists; import it, delete it, "
            "or set upsertExistingObjects on the provider",
        )

    def _patiently(self, apply: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Try again while the server is overloaded, or while a kind or namespace made beside this is appearing."""
        for pause in _RETRY_PAUSES_SECONDS:
            try:
                return apply()
            except UnknownKindError:
                pass
            except ApiError as error:
                missing_namespace = error.status == 404 and "namespaces" in str(error)
                if error.status not in _OVERLOADED and not missing_namespace:
                    raise
            if self.waiter.cancelled.wait(pause):
                break
        return apply()

    def _ready(self, inputs: dict[str, Any], seen: dict[str, Any], manager: str) -> dict[str, Any]:
        kind = self.resource.kind
        started = time.monotonic()
        try:
            ready = self.waiter.until_ready(kind, seen)
        except ProviderError as error:
            cause = error if isinstance(error, NotReadyError) else NotReadyError(str(error), [str(error)])
            # The object exists: the engine must know it, as it is now, to update or delete it later.
            outputs = live.outputs(kind, inputs, self._as_it_is(seen), manager)
            seconds = round(time.monotonic() - started)
            told = NotReadyError(f"{cause} (after {seconds} s)", cause.reasons)
            raise InitializationFailedError(identifier(seen), outputs, inputs, told) from error
        return live.outputs(kind, inputs, ready, manager)

    def _as_it_is(self, seen: dict[str, Any]) -> dict[str, Any]:
        metadata = seen["metadata"]
        try:
            return self.cluster.get(self.resource.kind, metadata.get("namespace", ""), metadata["name"])
        except ProviderError:
            return seen

    def _explained(self, what: str, error: ProviderError) -> ProviderError:
        text = f"resource {self.resource.urn!r} ({self.resource.kind}) could not {what}: {error}"
        if isinstance(error, ApiError) and error.reason == "Conflict":
            text += (
                "\nanother field manager owns these fields: give them up there, leave them out here, "
                'or set the annotation pulumi.com/patchForce: "true" to take them over'
            )
        return ProviderError(text)
