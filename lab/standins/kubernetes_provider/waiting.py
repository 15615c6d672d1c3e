"""Waits for objects: until they are ready, until they are gone."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lab.standins.kubernetes_provider import readiness, wait_for
from lab.standins.kubernetes_provider.cluster import Cluster
from lab.standins.kubernetes_provider.errors import ApiError, CancelledError, ClusterUnreachableError, NotReadyError
from lab.standins.kubernetes_provider.objects import Kind, annotation, identifier, is_set

_POLL_SECONDS = 1.0
_DELETE_SECONDS = 600.0
_WAIT_FOR_SECONDS = 600.0


@dataclass(frozen=True)
class Waiter:
    """Waits on one cluster.

    Attributes:
        cluster: where the objects are.
        cancelled: set when the user stops the update.
        say: shows a line of progress beside the resource.
        timeout_seconds: how long the user lets an operation take; 0 for the kind's own time.
    """

    cluster: Cluster
    cancelled: threading.Event
    say: Callable[[str], None]
    timeout_seconds: float

    def until_ready(self, kind: Kind, live: dict[str, Any]) -> dict[str, Any]:
        """Wait until an object is ready and return it as it is then.

        Raises:
            NotReadyError: it failed, or the time is over, or the user gave up.
        """
        chosen = self._check(kind, live)
        if chosen is None:
            return live
        check, own_seconds = chosen
        deadline = time.monotonic() + (self.timeout_seconds or own_seconds)
        said = ""
        while True:
            verdict, live = self._look(check, kind, live)
            if verdict.ready:
                return live
            text = "; ".join([verdict.message, *verdict.details[:1]])
            if text != said:
                self.say(text)
                said = text
            if fault := self._fault(verdict, deadline):
                text = f"{kind} {identifier(live)} {fault}: {verdict.message}"
                raise NotReadyError(text, [text, *verdict.details])

    def until_gone(self, kind: Kind, namespace: str, name: str) -> None:
        """Wait until an object no longer exists.

        Raises:
            NotReadyError: the time is over; the message says what holds the object.
            CancelledError: the user gave up.
        """
        deadline = time.monotonic() + (self.timeout_seconds or _DELETE_SECONDS)
        uid, pause, said = None, 0.1, False
        while True:
            try:
                live = self.cluster.get(kind, namespace, name)
            except ApiError as error:
                if error.status == 404:
                    return
                raise
            metadata = live["metadata"]
            uid = uid or metadata.get("uid")
            if metadata.get("uid") != uid:
                return
            if time.monotonic() > deadline:
                raise NotReadyError(f"{kind} {identifier(live)}: timed out waiting to be deleted", [_holding(live)])
            if not said and pause >= 1.0:
                self.say(_holding(live))
                said = True
            if self.cancelled.wait(pause):
                raise CancelledError(f"{kind} {identifier(live)}: the wait for its deletion was cancelled")
            pause = min(pause * 2, _POLL_SECONDS)

    def _fault(self, verdict: readiness.Verdict, deadline: float) -> str:
        """Pause, and say why waiting on makes no sense; empty if it does."""
        if verdict.failed:
            return "failed"
        if time.monotonic() > deadline:
            return "did not become ready in time"
        if self.cancelled.wait(_POLL_SECONDS):
            return "was not ready when the update was cancelled"
        return ""

    def _look(
        self, check: readiness.Check, kind: Kind, live: dict[str, Any]
    ) -> tuple[readiness.Verdict, dict[str, Any]]:
        """Read the object and judge it; an API server that is away for a moment ends no wait."""
        try:
            live = self._current(kind, live)
            return check(live, self.cluster), live
        except ClusterUnreachableError as error:
            return readiness.Verdict(ready=False, message=str(error)), live
        except ApiError as error:
            if error.status < 500 and error.status != 429:
                raise
            return readiness.Verdict(ready=False, message=str(error)), live

    def _check(self, kind: Kind, live: Mapping[str, Any]) -> tuple[readiness.Check, float] | None:
        if is_set(live, "pulumi.com/skipAwait"):
            return None
        if expression := annotation(live, wait_for.ANNOTATION):
            return wait_for.parse(expression), _WAIT_FOR_SECONDS
        return readiness.check_for(kind)

    def _current(self, kind: Kind, live: Mapping[str, Any]) -> dict[str, Any]:
        metadata = live["metadata"]
        try:
            return self.cluster.get(kind, metadata.get("namespace", ""), metadata["name"])
        except ApiError as error:
            if error.status != 404:
                raise
            raise NotReadyError(
                f"{kind} {identifier(live)} was deleted by somebody else", [f"{identifier(live)} no longer exists"]
            ) from error


def _holding(live: Mapping[str, Any]) -> str:
    metadata = live["metadata"]
    held = (live.get("spec") or {}).get("finalizers") or metadata.get("finalizers")
    messages = [
        entry["message"]
        for entry in (live.get("status") or {}).get("conditions") or []
        if entry.get("status") == "True" and entry.get("message")
    ]
    text = f"Waiting for deletion, held by finalizers {', '.join(held)}" if held else "Waiting for deletion"
    return "; ".join([text, *messages[:2]])
