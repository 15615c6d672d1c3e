"""What an interrupted update began, read from the state of its stack."""

from typing import Any

from lab.interrupted import interrupted_objects

URN = "urn:pulumi:lab::llmaas::kubernetes:core/v1:ConfigMap::settings"
SETTINGS = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": "llmaas"}}


def deployment(operation: str, *, resources: list[Any] | None = None, inputs: dict[str, Any] | None = None) -> Any:
    noted = {"urn": URN, "inputs": {**SETTINGS, "data": {"a": "b"}} if inputs is None else inputs}
    return {"resources": resources or [], "pending_operations": [{"type": operation, "resource": noted}]}


def test_a_begun_creation_is_named_by_kind_and_name() -> None:
    assert interrupted_objects(deployment("creating")) == [SETTINGS]


def test_what_is_among_the_resources_is_whole_whatever_a_note_says() -> None:
    assert interrupted_objects(deployment("creating", resources=[{"urn": URN}])) == []


def test_other_operations_leave_no_object_that_would_be_refused() -> None:
    assert interrupted_objects(deployment("updating")) == []


def test_what_is_no_object_of_the_cluster_is_left_alone() -> None:
    assert interrupted_objects(deployment("creating", inputs={"length": 8})) == []


def test_a_new_stack_has_neither_resources_nor_notes() -> None:
    assert interrupted_objects({"manifest": {}}) == []
