"""What the program declares for real GPUs, and that a lab gets nothing of it."""

from typing import Any

from llmaas.preview.recorder import Declared
from llmaas.settings import load_platform
from llmaas.views import zones as z
from llmaas.views.network_policies import network_policies

LABEL = "app.kubernetes.io/name"


def of_kind(declared: list[Declared], kind: str, namespace: str = "llmaas-gpu") -> list[Declared]:
    return [each for each in declared if each.kind == kind and place(each) in {namespace, "None"}]


def place(declared: Declared) -> str:
    return declared.namespace if "metadata" in declared.inputs else ""


def test_every_container_with_gpus_is_run_by_nvidia_s_runtime(production: list[Declared]) -> None:
    (runtime,) = of_kind(production, "RuntimeClass")
    assert (runtime.inputs["handler"], runtime.inputs["metadata"]["name"]) == ("nvidia", "nvidia")
    assert runtime.inputs["scheduling"]["nodeSelector"] == {"llmaas.io/gpu-kind": "nvidia"}
    asking = [
        each
        for each in production
        if each.kind in {"Deployment", "DaemonSet", "StatefulSet"}
        and any("nvidia.com/gpu" in str(container.get("resources")) for container in each.pod["containers"])
    ]
    assert len(asking) >= 3
    assert {each.pod.get("runtimeClassName") for each in asking} == {"nvidia"}


def test_device_plugin_and_exporter_run_where_real_gpus_are(production: list[Declared]) -> None:
    daemons = {each.inputs["metadata"]["name"]: each.pod for each in of_kind(production, "DaemonSet")}
    assert set(daemons) == {"nvidia-device-plugin", "dcgm-exporter"}
    for pod in daemons.values():
        assert pod["nodeSelector"] == {"llmaas.io/gpu-kind": "nvidia"}
        assert pod["automountServiceAccountToken"] is False
        assert "hostNetwork" not in pod


def test_a_pod_gets_gpus_by_mounts_that_no_image_can_ask_for(production: list[Declared]) -> None:
    (plugin,) = (each for each in of_kind(production, "DaemonSet") if "plugin" in each.inputs["metadata"]["name"])
    assert "--device-list-strategy=volume-mounts" in plugin.pod["containers"][0]["args"]


def test_the_exporter_is_reached_by_prometheus_alone_and_reaches_nobody() -> None:
    found: list[dict[str, Any]] = [
        policy.spec for policy in network_policies(load_platform("production")) if policy.namespace == "llmaas-gpu"
    ]
    deny, allow = sorted(found, key=lambda spec: len(spec["podSelector"]))
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert allow["policyTypes"] == ["Ingress"]
    (peer,) = allow["ingress"][0]["from"]
    assert peer["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "prometheus"}


def test_every_pod_with_a_network_of_its_own_is_of_a_part_of_the_matrix(
    production: list[Declared], declared: list[Declared]
) -> None:
    """What no part names, no live check asks whom it reaches and where it listens."""
    for environment, resources in (("production", production), ("lab", declared)):
        parts = z.parts(load_platform(environment))
        workloads = [each for each in resources if "template" in each.inputs.get("spec", {})]
        found = {(each.namespace, each.inputs["spec"]["template"]["metadata"]["labels"][LABEL]) for each in workloads}
        assert found == {(part.namespace, part.name) for part in parts if part.name != z.NAME_SERVICE}
        assert [each.name for each in workloads if "hostNetwork" in each.pod] == []


def test_a_lab_has_nothing_of_it(declared: list[Declared]) -> None:
    assert of_kind(declared, "DaemonSet") == []
    assert [each for each in declared if each.kind == "RuntimeClass" or place(each) == "llmaas-gpu"] == []
    assert all("runtimeClassName" not in each.pod for each in declared if each.kind == "Deployment")
