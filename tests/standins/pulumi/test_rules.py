"""The provider's rules without a cluster: what counts as a difference, what as drift, what an annotation waits for."""

from typing import Any

import pytest

from lab.standins.kubernetes_provider import configuration, differences, inputs, kubeconfig, live, values, wait_for
from lab.standins.kubernetes_provider.errors import ProviderError
from lab.standins.kubernetes_provider.objects import AUTONAMED, Kind, kind_of
from lab.standins.kubernetes_provider.values import UNKNOWN, Secret

CONFIG_MAP = Kind("v1", "ConfigMap")
SECRET = Kind("v1", "Secret")
DEPLOYMENT = Kind("apps/v1", "Deployment")
NAMING = inputs.Naming(resource="web", seed=b"seed")
DEFAULT = configuration.Configuration()


def compared(kind: Kind, old: dict[str, Any], new: dict[str, Any], **settings: bool) -> dict[str, tuple[str, bool]]:
    found = differences.compare(old, new, (kind, kind), configuration.Configuration(**settings))
    return {field.text: (field.change.value, field.replaces) for field in found.fields}


def test_properties_survive_the_way_to_the_engine_and_back() -> None:
    properties = {"a": 1, "b": 1.5, "c": [Secret("x"), UNKNOWN, None, True], "d": {"e": Secret({"f": "g"})}, "h": {}}
    assert values.from_struct(values.to_struct(properties)) == properties


def test_a_difference_names_the_field_as_the_engine_writes_it() -> None:
    old = {"metadata": {"labels": {"a/b": "1"}}, "spec": {"replicas": 1, "ports": [{"port": 1}]}}
    new = {"metadata": {"labels": {"a/b": "2"}}, "spec": {"ports": [{"port": 2}, {"port": 3}], "x": None}}
    assert compared(DEPLOYMENT, old, new) == {
        'metadata.labels["a/b"]': ("update", False),
        "spec.ports[0].port": ("update", False),
        "spec.ports[1]": ("add", False),
        "spec.replicas": ("delete", False),
    }


@pytest.mark.parametrize(
    ("annotations", "status", "replaced"),
    [
        ({"pulumi.com/replaceUnready": "true"}, {"conditions": [{"type": "Failed", "status": "True"}]}, True),
        ({"pulumi.com/replaceUnready": "true"}, {"active": 1}, True),
        ({"pulumi.com/replaceUnready": "true"}, {"conditions": [{"type": "Complete", "status": "True"}]}, False),
        ({}, {"conditions": [{"type": "Failed", "status": "True"}]}, False),
    ],
)
def test_a_job_that_did_not_complete_is_replaced_where_it_asks_for_it(
    annotations: dict[str, str], status: dict[str, Any], *, replaced: bool
) -> None:
    job = {"metadata": {"name": "migration", "namespace": "default", "annotations": annotations}, "spec": {}}
    same = differences.Difference((), delete_first=False)
    found = differences.replace_unready(same, {**job, "status": status}, job, Kind("batch/v1", "Job"))
    assert bool(found.replaces) is replaced
    assert found.delete_first is replaced


def test_a_value_that_is_not_known_yet_is_a_change() -> None:
    assert compared(DEPLOYMENT, {"spec": {"a": 1}}, {"spec": {"a": UNKNOWN}}) == {"spec.a": ("update", False)}


@pytest.mark.parametrize(
    ("kind", "field", "replaces"),
    [
        (DEPLOYMENT, ("spec", "selector", "matchLabels", "a"), True),
        (DEPLOYMENT, ("spec", "template", "a"), False),
        (Kind("batch/v1", "Job"), ("spec", "template", "a"), True),
        (Kind("batch/v1", "Job"), ("spec", "backoffLimit"), False),
        (Kind("apps/v1", "StatefulSet"), ("spec", "serviceName"), True),
        (Kind("v1", "Service"), ("spec", "clusterIP"), True),
        (Kind("v1", "PersistentVolume"), ("spec", "local", "path"), True),
        (Kind("v1", "PersistentVolumeClaim"), ("spec", "resources", "requests"), False),
        (Kind("rbac.authorization.k8s.io/v1", "RoleBinding"), ("roleRef", "name"), True),
        (CONFIG_MAP, ("metadata", "namespace"), True),
    ],
)
def test_only_fields_that_cannot_be_changed_replace_the_object(
    kind: Kind, field: tuple[str, ...], *, replaces: bool
) -> None:
    old: Any = "1"
    new: Any = "2"
    for part in reversed(field):
        old, new = {part: old}, {part: new}
    assert list(compared(kind, old, new).values()) == [("update", replaces)]


def test_data_of_config_maps_and_secrets_is_replaced_unless_the_provider_may_change_it() -> None:
    old, new = {"data": {"a": "1"}}, {"data": {"a": "2"}}
    assert compared(CONFIG_MAP, old, new) == {"data.a": ("update", True)}
    assert compared(SECRET, old, new) == {"data.a": ("update", True)}
    assert compared(CONFIG_MAP, old, new, config_map_mutable=True) == {"data.a": ("update", False)}
    frozen = {**old, "immutable": True}
    assert compared(CONFIG_MAP, frozen, {**new, "immutable": True}, config_map_mutable=True)["data.a"][1] is True


def test_a_replacement_of_the_same_name_deletes_first() -> None:
    def delete_first(metadata: dict[str, Any]) -> bool:
        old = {"metadata": metadata, "data": {"a": "1"}}
        new = {"metadata": metadata, "data": {"a": "2"}}
        return differences.compare(old, new, (CONFIG_MAP, CONFIG_MAP), DEFAULT).delete_first

    assert delete_first({"name": "x"})
    assert not delete_first({"name": "x-1", "annotations": {AUTONAMED: "true"}})


def test_an_automatic_name_stays_as_long_as_the_object() -> None:
    first, fault = inputs.checked(CONFIG_MAP, {}, {"data": {}}, NAMING, lambda _kind: "default")
    assert not fault
    assert first["metadata"]["name"].startswith("web-")
    other_seed = inputs.Naming(resource="web", seed=b"other")
    second, _ = inputs.checked(CONFIG_MAP, first, {"data": {}}, other_seed, lambda _kind: "default")
    assert second["metadata"] == first["metadata"]
    named, _ = inputs.checked(CONFIG_MAP, first, {"metadata": {"name": "web"}}, other_seed, lambda _kind: "")
    assert named["metadata"] == {"name": "web"}


def test_labels_that_are_no_text_are_refused_with_the_field() -> None:
    _, fault = inputs.checked(CONFIG_MAP, {}, {"metadata": {"name": "x", "labels": {"a": 1}}}, NAMING, lambda _: "")
    assert "metadata.labels['a']" in fault


def test_what_the_server_writes_in_its_own_way_is_no_drift() -> None:
    wanted = {
        "spec": {
            "capacity": {"storage": "1024Mi"},
            "limits": {"cpu": "0.5"},
            "empty": {},
            "zero": 0,
            "containers": [{"name": "b", "image": "x"}],
        }
    }
    found = {
        "spec": {
            "capacity": {"storage": "1Gi"},
            "limits": {"cpu": "500m"},
            "defaulted": True,
            "containers": [{"name": "injected"}, {"name": "b", "image": "x", "imagePullPolicy": "Always"}],
        }
    }
    assert live.refreshed_inputs(DEPLOYMENT, wanted, found) == wanted


def test_what_somebody_else_changed_is_drift() -> None:
    wanted = {"spec": {"replicas": 2, "rules": [{"port": 1}], "gone": "x", "arguments": ["a"]}}
    found = {"spec": {"replicas": 3, "rules": [{"port": 1}, {"port": 2}], "arguments": ["a", "b"]}}
    assert live.refreshed_inputs(DEPLOYMENT, wanted, found) == {
        "spec": {"replicas": 3, "rules": [{"port": 1}, {"port": 2}], "arguments": ["a", "b"]}
    }


def test_a_secret_is_sent_encoded_compared_decoded_and_stored_secret() -> None:
    wanted = {"metadata": {"name": "s"}, "stringData": Secret({"a": "text"}), "data": Secret({"b": "Yg=="})}
    sent = live.body(SECRET, wanted, namespaced=True)
    assert sent["data"] == {"a": "dGV4dA==", "b": "Yg=="}
    assert "stringData" not in sent
    found = {**sent, "data": {"a": "b3RoZXI=", "b": "Yg=="}}
    refreshed = live.refreshed_inputs(SECRET, wanted, found)
    assert refreshed["stringData"] == Secret({"a": "other"})
    outputs = live.outputs(SECRET, wanted, found, "manager")
    assert isinstance(outputs["data"], Secret)


def test_secrets_of_the_inputs_stay_secret_in_the_outputs() -> None:
    wanted = {"spec": {"env": [{"name": "a", "value": Secret("x")}, {"name": "b", "value": "y"}]}}
    found = {"spec": {"env": [{"name": "a", "value": "x"}, {"name": "b", "value": "y"}]}, "metadata": {}}
    outputs = live.outputs(DEPLOYMENT, wanted, found, "manager")
    assert outputs["spec"]["env"] == [{"name": "a", "value": Secret("x")}, {"name": "b", "value": "y"}]


def test_wait_for_understands_conditions_and_json_paths() -> None:
    seen = {"status": {"phase": "Done", "conditions": [{"type": "Ready", "status": "True"}], "list": [{"n": 1}]}}
    for expression, holds in {
        "condition=Ready": True,
        "condition=Ready=False": False,
        "jsonpath={.status.phase}=Done": True,
        "jsonpath={.status.list[0].n}=1": True,
        "jsonpath={.status.missing}": False,
        '["condition=Ready", "jsonpath={.status.phase}=Other"]': False,
    }.items():
        assert wait_for.parse(expression)(seen, None).ready is holds, expression  # type: ignore[arg-type]
    with pytest.raises(ProviderError, match="neither condition"):
        wait_for.parse("whenever")


def test_a_kubeconfig_error_names_what_is_missing() -> None:
    with pytest.raises(ProviderError, match="no context 'b'; there are: a"):
        kubeconfig.load('{"contexts": [{"name": "a", "context": {}}]}', "b", "")
    with pytest.raises(ProviderError, match="no kubeconfig at /nonexistent"):
        kubeconfig.load("/nonexistent", "", "")


def test_another_cluster_replaces_the_provider_and_another_token_does_not() -> None:
    def provider(server: str, token: str) -> configuration.Configuration:
        text = f"""
current-context: c
contexts: [{{name: c, context: {{cluster: c, user: u}}}}]
clusters: [{{name: c, cluster: {{server: "{server}"}}}}]
users: [{{name: u, user: {{token: "{token}"}}}}]
"""
        return configuration.parse({"kubeconfig": text})

    assert configuration.replaces(provider("https://a", "1"), provider("https://a", "2")) == []
    assert configuration.replaces(provider("https://a", "1"), provider("https://b", "1")) == ["kubeconfig"]


def test_what_only_the_official_plugin_can_do_is_refused_with_the_remedy() -> None:
    with pytest.raises(ProviderError, match="official"):
        configuration.parse({"renderYamlToDirectory": "x"})
    with pytest.raises(ProviderError, match="official"):
        kind_of("kubernetes:helm.sh/v3:Release", {})
