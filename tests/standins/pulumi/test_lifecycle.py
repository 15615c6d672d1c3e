"""The provider with the real engine and a real API server: create, change, replace, refresh, delete."""

import json
from typing import Any

COMMON = """
ns = k8s.core.v1.Namespace("ns", metadata=meta(NAMESPACE))
inside = Options(depends_on=[ns])
"""

PLATFORM = (
    COMMON
    + """
secret = k8s.core.v1.Secret("secret", metadata=meta(namespace=ns.metadata.name),
    string_data={"password": pulumi.Config().require_secret("password")})
k8s.core.v1.ConfigMap("settings", metadata=meta("settings", NAMESPACE), data={"a": "1"}, opts=inside)
k8s.storage.v1.StorageClass("late", metadata=meta(NAMESPACE), provisioner="kubernetes.io/no-provisioner",
    volume_binding_mode="WaitForFirstConsumer")
k8s.core.v1.PersistentVolume("disk", metadata=meta(NAMESPACE), spec=dict(
    capacity={"storage": "1024Mi"}, access_modes=["ReadWriteOnce"], storage_class_name=NAMESPACE,
    local={"path": "/x"}, node_affinity={"required": {"nodeSelectorTerms": [{"matchExpressions": [
        {"key": "kubernetes.io/hostname", "operator": "In", "values": ["a"]}]}]}}))
k8s.core.v1.PersistentVolumeClaim("claim", metadata=meta("claim", NAMESPACE), spec=dict(
    access_modes=["ReadWriteOnce"], storage_class_name=NAMESPACE,
    resources={"requests": {"storage": "0.5Gi"}}), opts=inside)
k8s.networking.v1.NetworkPolicy("deny", metadata=meta("deny", NAMESPACE), spec=dict(
    pod_selector={}, policy_types=["Ingress", "Egress"]), opts=inside)
k8s.apps.v1.Deployment("web", metadata=meta("web", NAMESPACE), spec=dict(
    replicas=0, selector={"match_labels": {"app": "web"}},
    template={"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [
        {"name": "web", "image": "x/y:1", "resources": {"requests": {"cpu": "0.5"}}}]}}), opts=inside)
service = k8s.core.v1.Service("web", metadata=meta("web", NAMESPACE,
    annotations={"pulumi.com/skipAwait": "true"}), spec=dict(
    selector={"app": "web"}, ports=[{"port": 80}]), opts=inside)
pulumi.export("address", service.spec.cluster_ip)
"""
)


def test_a_platform_comes_up_stays_unchanged_and_goes_away(project: Any, api_server: Any) -> None:
    project.pulumi("config", "set", "--secret", "password", "confidential-4711")
    project.program(PLATFORM)
    planned = project.preview()
    assert planned["claim"] == "create", planned
    project.up()
    assert project.preview() == {}
    assert project.preview("--refresh") == {}, "quantities that the server writes in its own way are no drift"

    assert "confidential-4711" not in project.state()
    assert "Y29uZmlkZW50aWFsLTQ3MTE" not in project.state(), "the encoded secret is as secret as the plain one"
    outputs = project.resources()["secret"]["outputs"]
    assert "ciphertext" in outputs["data"] and "ciphertext" in outputs["stringData"]  # noqa: PT018
    name = project.resources()["secret"]["id"].partition("/")[2]
    assert name.startswith("secret-"), "an object without a name gets the resource's, with a suffix"
    encoded = api_server.object("secret", name, "-n", project.namespace)["data"]["password"]
    assert encoded == "Y29uZmlkZW50aWFsLTQ3MTE="

    gone = project.pulumi("destroy", "--yes", "--skip-preview")
    assert gone.status == 0, gone.output
    assert "NotFound" in api_server.kubectl("get", "namespace", project.namespace, check=False)


SETTINGS = (
    COMMON
    + """
k8s.core.v1.ConfigMap("named", metadata=meta("named", NAMESPACE, labels={{"step": "{step}"}}),
    data={{"a": "{data}"}}, opts=inside)
k8s.core.v1.ConfigMap("unnamed", metadata=meta(namespace=NAMESPACE), data={{"a": "{data}"}}, opts=inside)
"""
)


def test_a_label_is_changed_in_place_and_data_of_a_config_map_replaces_it(project: Any, api_server: Any) -> None:
    project.program(SETTINGS.format(step=1, data=1))
    project.up()
    before = project.resources()

    project.program(SETTINGS.format(step=2, data=1))
    assert project.preview() == {"named": "update"}
    project.up()
    live = api_server.object("configmap", "named", "-n", project.namespace)
    assert live["metadata"]["labels"] == {"step": "2"}
    assert live["metadata"]["uid"] == before["named"]["outputs"]["metadata"]["uid"]

    project.program(SETTINGS.format(step=2, data=2))
    assert project.preview() == {"named": "replace", "unnamed": "replace"}
    outcome = project.up()
    live = api_server.object("configmap", "named", "-n", project.namespace)
    assert live["data"] == {"a": "2"}
    assert live["metadata"]["uid"] != before["named"]["outputs"]["metadata"]["uid"]
    assert project.resources()["unnamed"]["id"] != before["unnamed"]["id"], outcome.output
    names = {item["metadata"]["name"] for item in api_server.object("configmap", "-n", project.namespace)["items"]}
    assert before["unnamed"]["id"].partition("/")[2] not in names, "the replaced object is deleted"


def test_refresh_finds_what_somebody_else_changed_and_force_takes_it_back(project: Any, api_server: Any) -> None:
    text = (
        COMMON
        + """
k8s.networking.v1.NetworkPolicy("deny", metadata=meta("deny", NAMESPACE,
    annotations={"pulumi.com/patchForce": "true"}), spec=dict(pod_selector={}, policy_types=["Ingress", "Egress"]),
    opts=inside)
k8s.core.v1.ConfigMap("lost", metadata=meta("lost", NAMESPACE), data={"a": "1"}, opts=inside)
"""
    )
    project.program(text)
    project.up()
    patch = json.dumps({"metadata": {"labels": {"theirs": "kept"}}, "spec": {"policyTypes": ["Ingress"]}})
    api_server.kubectl("patch", "networkpolicy", "deny", "-n", project.namespace, "--type=merge", "-p", patch)
    api_server.kubectl("delete", "configmap", "lost", "-n", project.namespace)
    assert project.preview("--refresh") == {"deny": "update", "lost": "create"}
    project.up("--refresh")
    live = api_server.object("networkpolicy", "deny", "-n", project.namespace)
    assert live["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert live["metadata"]["labels"] == {"theirs": "kept"}, "what the program does not name belongs to others"


def test_an_object_of_somebody_else_is_never_taken_over(project: Any, api_server: Any) -> None:
    api_server.kubectl("create", "namespace", project.namespace)
    api_server.kubectl("create", "configmap", "theirs", "-n", project.namespace, "--from-literal=a=1")
    project.program(
        'k8s.core.v1.ConfigMap("theirs", metadata=meta("theirs", NAMESPACE), data={"a": "2"})',
    )
    outcome = project.up(fails=True)
    assert "theirs already exists" in outcome.output
    assert api_server.object("configmap", "theirs", "-n", project.namespace)["data"] == {"a": "1"}
    api_server.kubectl("delete", "namespace", project.namespace)


def test_the_servers_refusal_names_the_resource_and_the_field(project: Any) -> None:
    project.program(
        COMMON
        + """
k8s.core.v1.Service("wrong", metadata=meta("wrong", NAMESPACE), spec=dict(ports=[{"port": 99999}]), opts=inside)
"""
    )
    outcome = project.up(fails=True)
    assert "wrong" in outcome.output
    assert "spec.ports[0].port: Invalid value" in outcome.output


def test_a_custom_resource_follows_its_definition(project: Any, api_server: Any) -> None:
    project.program(
        COMMON
        + """
group = NAMESPACE + ".example.org"
crd = k8s.apiextensions.v1.CustomResourceDefinition("crd", metadata=meta("widgets." + group), spec=dict(
    group=group, scope="Namespaced", names={"plural": "widgets", "singular": "widget", "kind": "Widget"},
    versions=[{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {
        "type": "object", "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}}}}}]))
k8s.apiextensions.CustomResource("widget", api_version=group + "/v1", kind="Widget",
    metadata=meta("widget", NAMESPACE), spec={"size": 3}, opts=Options(depends_on=[crd, ns]))
"""
    )
    assert project.preview()["widget"] == "create", "a preview works before the kind exists"
    project.up()
    assert project.preview("--refresh") == {}
    group = f"{project.namespace}.example.org"
    assert api_server.object(f"widgets.{group}", "widget", "-n", project.namespace)["spec"] == {"size": 3}


def test_a_provider_with_a_secret_kubeconfig_keeps_it_secret_and_reads_what_exists(
    project: Any, api_server: Any
) -> None:
    token = next(line for line in api_server.kubeconfig.read_text().splitlines() if "token:" in line).split()[-1]
    project.environment["KUBECONFIG"] = "/nonexistent"
    project.program(
        f"""
text = open({str(api_server.kubeconfig)!r}).read()
theirs = k8s.Provider("theirs", kubeconfig=pulumi.Output.secret(text))
options = Options(provider=theirs)
account = k8s.core.v1.ServiceAccount.get("account", "default/default", opts=options)
pulumi.export("account", account.metadata.name)
k8s.core.v1.Namespace("ns", metadata=meta(NAMESPACE), opts=options)
"""
    )
    project.up()
    assert project.preview() == {}
    assert project.pulumi("stack", "output", "account").output.strip().endswith("default")
    assert token not in project.state()
