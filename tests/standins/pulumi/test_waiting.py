"""An update waits for StatefulSets and claims as it does for Deployments; a cluster in memory lets them come up."""

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from lab.standins.kubernetes_provider import readiness, waiting
from lab.standins.kubernetes_provider.errors import ApiError, NotReadyError
from lab.standins.kubernetes_provider.objects import Kind
from lab.standins.kubernetes_provider.waiting import Waiter

STATEFUL_SET = Kind("apps/v1", "StatefulSet")
CLAIM = Kind("v1", "PersistentVolumeClaim")
NAMED = {"name": "store", "namespace": "data"}
ROLLED_OUT = {"readyReplicas": 3, "updatedReplicas": 3, "currentRevision": "new", "updateRevision": "new"}
HALTED_AT_1 = {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}}
BY_HAND = {"updateStrategy": {"type": "OnDelete"}}
CLASSES = {
    "at-once": {"volumeBindingMode": "Immediate"},
    "when-used": {"volumeBindingMode": "WaitForFirstConsumer"},
}


class Cluster:
    """Holds one object that is another each time it is read, up to the last one; beside it pods and storage classes."""

    def __init__(self, *states: dict[str, Any], pods: Sequence[dict[str, Any]] = ()) -> None:
        self.left = list(states)
        self.pods = list(pods)

    def get(self, kind: Kind, _namespace: str, name: str) -> dict[str, Any]:
        if kind.name == "StorageClass":
            if name == "refused":
                raise ApiError(403, "Forbidden", "not yours")
            if name not in CLASSES:
                raise ApiError(404, "NotFound", f"no storage class {name}")
            return CLASSES[name]
        return self.left.pop(0) if len(self.left) > 1 else self.left[0]

    def list(self, _kind: Kind, _namespace: str, **query: str) -> list[dict[str, Any]]:
        assert query == {"labelSelector": "app=store"}
        return self.pods


def stateful_set(status: Mapping[str, Any], spec: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return {
        "metadata": {**NAMED, "generation": 2},
        "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "store"}}, **(spec or {})},
        "status": {"observedGeneration": 2, **status},
    }


def claim(phase: str, storage_class: str | None = None) -> dict[str, Any]:
    named = {} if storage_class is None else {"storageClassName": storage_class}
    return {"metadata": NAMED, "spec": named, "status": {"phase": phase}}


def verdict(kind: Kind, live: dict[str, Any], cluster: Cluster | None = None) -> readiness.Verdict:
    chosen = readiness.check_for(kind)
    assert chosen is not None, f"nobody waits for a {kind.name}"
    return chosen[0](live, cluster or Cluster())


@pytest.mark.parametrize(
    ("changes", "spec", "ready"),
    [
        ({}, {}, True),
        ({"observedGeneration": 1}, {}, False),
        ({"readyReplicas": 2}, {}, False),
        ({"updatedReplicas": 2}, {}, False),
        ({"currentRevision": "old"}, {}, False),
        ({"updatedReplicas": 2, "currentRevision": "old"}, HALTED_AT_1, True),
        ({"updatedReplicas": 1, "currentRevision": "old"}, HALTED_AT_1, False),
        ({"updatedReplicas": 2, "readyReplicas": 2}, HALTED_AT_1, False),
        ({"updatedReplicas": 0, "currentRevision": "old"}, BY_HAND, True),
        ({"readyReplicas": 2}, BY_HAND, False),
    ],
)
def test_a_stateful_set_is_ready_when_all_its_pods_are_and_are_new(
    changes: dict[str, Any], spec: dict[str, Any], *, ready: bool
) -> None:
    found = verdict(STATEFUL_SET, stateful_set({**ROLLED_OUT, **changes}, spec))
    assert found.ready is ready
    assert bool(found.message) is not ready


def test_a_stateful_set_that_nobody_has_seen_yet_is_not_ready() -> None:
    assert not verdict(STATEFUL_SET, {**stateful_set({}), "status": None}).ready


def test_a_stateful_set_tells_what_its_pods_wait_for() -> None:
    state = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
    pod = {"metadata": {**NAMED, "name": "store-0"}, "status": {"containerStatuses": [{"name": "a", "state": state}]}}
    (reason,) = verdict(STATEFUL_SET, stateful_set({}), Cluster(pods=[pod])).details
    assert "store-0" in reason
    assert "ImagePullBackOff: no such image" in reason


@pytest.mark.parametrize(
    ("live", "ready"),
    [
        (claim("Bound"), True),
        (claim("Bound", "at-once"), True),
        (claim("Pending"), False),
        (claim("Pending", "at-once"), False),
        (claim("Pending", "not-there"), False),
        (claim("Lost", "at-once"), False),
        # it is bound when a pod uses it, which may well be made after it
        (claim("Pending", "when-used"), True),
    ],
)
def test_a_claim_is_ready_when_it_is_bound_or_waits_for_a_pod(live: dict[str, Any], *, ready: bool) -> None:
    assert verdict(CLAIM, live).ready is ready


def test_a_storage_class_that_may_not_be_read_is_no_reason_to_wait() -> None:
    with pytest.raises(ApiError, match="not yours"):
        verdict(CLAIM, claim("Pending", "refused"))


COMING_UP = [
    (STATEFUL_SET, [stateful_set({}), stateful_set({"readyReplicas": 2}), stateful_set(ROLLED_OUT)]),
    (CLAIM, [claim("Pending"), claim("Pending", "at-once"), claim("Bound")]),
]
each_kind = pytest.mark.parametrize(("kind", "states"), COMING_UP, ids=["StatefulSet", "PersistentVolumeClaim"])


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is shown beside the resource; between two looks hardly any time passes."""
    monkeypatch.setattr(waiting, "_POLL_SECONDS", 0.001)
    return []


@each_kind
def test_the_wait_ends_when_the_object_is_ready_and_not_before(
    kind: Kind, states: list[dict[str, Any]], said: list[str]
) -> None:
    cluster = Cluster(*states)
    waiter = Waiter(cluster, threading.Event(), said.append, timeout_seconds=60)
    assert waiter.until_ready(kind, states[0]) == states[-1]
    assert said


@each_kind
def test_an_object_that_does_not_come_up_in_time_is_named(
    kind: Kind, states: list[dict[str, Any]], said: list[str]
) -> None:
    waiter = Waiter(Cluster(states[0]), threading.Event(), said.append, timeout_seconds=0.05)
    with pytest.raises(NotReadyError, match="data/store did not become ready in time"):
        waiter.until_ready(kind, states[0])


@each_kind
def test_the_user_may_give_up_the_wait(kind: Kind, states: list[dict[str, Any]], said: list[str]) -> None:
    cancelled = threading.Event()
    cancelled.set()
    waiter = Waiter(Cluster(states[0]), cancelled, said.append, timeout_seconds=60)
    with pytest.raises(NotReadyError, match="data/store was not ready when the update was cancelled"):
        waiter.until_ready(kind, states[0])
