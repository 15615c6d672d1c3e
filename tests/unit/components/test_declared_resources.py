"""What holds for everything that the program sends to the cluster."""

import json
import re
from typing import Any

import pytest
import yaml

from llmaas.planning.stores import stores_by_host
from llmaas.preview.placeholders import MARK
from llmaas.settings import Platform, load_platform
from llmaas.views.data import redis_memory_mib, redis_needed_mib
from llmaas.views.leaves import leaf_requests

NAMESPACES = {"llmaas-edge", "llmaas-gateway", "llmaas-serving", "llmaas-data", "llmaas-monitoring"}


def containers(workload: Any) -> list[dict[str, Any]]:
    return [*workload.pod.get("initContainers", []), *workload.pod["containers"]]


def of_kind(declared: list[Any], kind: str) -> list[Any]:
    return [each for each in declared if each.kind == kind]


def test_every_namespace_admits_restricted_pods_only(declared: list[Any]) -> None:
    namespaces = {each.inputs["metadata"]["name"]: each.inputs["metadata"] for each in of_kind(declared, "Namespace")}
    assert set(namespaces) == NAMESPACES
    for metadata in namespaces.values():
        assert metadata["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_every_namespace_denies_both_ways_by_default(declared: list[Any]) -> None:
    denied = {
        each.namespace
        for each in of_kind(declared, "NetworkPolicy")
        if each.inputs["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    }
    assert denied == NAMESPACES


def test_only_the_edge_is_reached_from_outside_and_its_administration_from_bastions_alone(declared: list[Any]) -> None:
    from_outside = {}
    for policy in of_kind(declared, "NetworkPolicy"):
        for rule in policy.inputs["spec"].get("ingress", []):
            for peer in rule["from"]:
                if "ipBlock" in peer:
                    from_outside[policy.namespace, rule["ports"][0]["port"]] = peer["ipBlock"]["cidr"]
    assert from_outside == {("llmaas-edge", 8443): "0.0.0.0/0", ("llmaas-edge", 8444): "10.77.0.1/32"}


def test_nothing_may_leave_the_cluster_but_what_prometheus_asks_log_hosts(declared: list[Any]) -> None:
    leaving = set()
    for policy in of_kind(declared, "NetworkPolicy"):
        for rule in policy.inputs["spec"].get("egress", []):
            assert rule["to"], policy.name
            for peer in rule["to"]:
                if "ipBlock" in peer:
                    who = policy.inputs["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/name"]
                    leaving.add((who, peer["ipBlock"]["cidr"], *(port["port"] for port in rule["ports"])))
                    continue
                assert peer["namespaceSelector"]["matchLabels"], policy.name
                assert peer["podSelector"]["matchLabels"], policy.name
    assert leaving == {("prometheus", "10.77.0.30/32", 9443), ("prometheus", "10.77.0.31/32", 9443)}


def test_no_other_part_than_the_gateway_reaches_the_model_servers(declared: list[Any]) -> None:
    sources = {
        (peer["podSelector"]["matchLabels"]["app.kubernetes.io/name"], rule["ports"][0]["port"])
        for policy in of_kind(declared, "NetworkPolicy")
        if policy.namespace == "llmaas-serving"
        for rule in policy.inputs["spec"].get("ingress", [])
        for peer in rule["from"]
    }
    assert sources == {("litellm", 8443), ("prometheus", 9443)}


def test_every_pod_satisfies_the_restricted_profile(workloads: list[Any]) -> None:
    for workload in workloads:
        pod = workload.pod
        assert pod["securityContext"]["runAsNonRoot"] is True, workload.name
        assert pod["securityContext"]["runAsUser"] > 0, workload.name
        assert pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault", workload.name
        assert pod["automountServiceAccountToken"] is False, workload.name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod), workload.name
        allowed = {"name", "configMap", "secret", "emptyDir", "persistentVolumeClaim"}
        assert all(set(volume) <= allowed for volume in pod["volumes"]), workload.name
        for container in containers(workload):
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False, workload.name
            assert context["capabilities"] == {"drop": ["ALL"]}, workload.name
            assert context["readOnlyRootFilesystem"] is True, workload.name
            assert context["seccompProfile"]["type"] == "RuntimeDefault", workload.name
            assert not any("hostPort" in port for port in container.get("ports", [])), workload.name


def test_every_image_is_named_by_its_digest(workloads: list[Any]) -> None:
    for workload in workloads:
        for container in containers(workload):
            assert "@sha256:" in container["image"], (workload.name, container["name"])


def test_every_container_has_a_memory_limit_and_no_cpu_limit(workloads: list[Any]) -> None:
    for workload in workloads:
        for container in containers(workload):
            assert "memory" in container["resources"]["limits"], (workload.name, container["name"])
            assert "cpu" not in container["resources"]["limits"], (workload.name, container["name"])


def test_every_proxy_has_the_memory_by_which_its_connections_are_counted(
    declared: list[Any], workloads: list[Any]
) -> None:
    maps = {each.inputs["metadata"]["name"]: each.inputs["data"] for each in of_kind(declared, "ConfigMap")}
    found = []
    for workload in workloads:
        for container in containers(workload):
            if container["name"] != "haproxy":
                continue
            limit = int(container["resources"]["limits"]["memory"].removesuffix("Mi"))
            (volume,) = [each for each in workload.pod["volumes"] if each["name"] == "proxy"]
            (most,) = re.findall(
                r"(?m)^global\n(?: .*\n)*? +maxconn (\d+)", maps[volume["configMap"]["name"]]["haproxy.cfg"]
            )
            found.append(workload.namespace)
            # half a mebibyte for each, and 64 for the program
            assert limit >= 64 + int(most) / 2, workload.name
            # what is set aside stays small: a lab has a dozen of them
            assert container["resources"]["requests"]["memory"] == "32Mi"
    assert set(found) == {"llmaas-edge", "llmaas-gateway", "llmaas-serving"}


def test_data_lies_on_the_hosts_of_which_the_plan_says_so(declared: list[Any], platform: Platform) -> None:
    found: dict[str, set[str]] = {}
    for volume in of_kind(declared, "PersistentVolume"):
        spec = volume.inputs["spec"]
        if spec["accessModes"] == ["ReadWriteOnce"]:
            (term,) = spec["nodeAffinity"]["required"]["nodeSelectorTerms"]
            (host,) = term["matchExpressions"][0]["values"]
            found.setdefault(host, set()).add(spec["claimRef"]["name"].removesuffix("-data"))
    called = {"PostgreSQL": "postgres", "Redis": "redis", "Prometheus": "prometheus"}
    assert found == {host: {called[name] for name in names} for host, names in stores_by_host(platform).items()}


def test_no_service_environment_reaches_a_pod(workloads: list[Any]) -> None:
    assert all(workload.pod["enableServiceLinks"] is False for workload in workloads)


def test_every_model_replica_asks_for_its_gpus_on_the_host_of_the_placement(
    workloads: list[Any], platform: Platform
) -> None:
    asked = set()
    for workload in workloads:
        if workload.namespace != "llmaas-serving":
            continue
        (server,) = workload.pod["containers"]
        affinity = workload.pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        (host,) = affinity["nodeSelectorTerms"][0]["matchExpressions"][0]["values"]
        labels = workload.inputs["spec"]["template"]["metadata"]["labels"]
        gpus = int(server["resources"]["limits"]["nvidia.com/gpu"])
        asked.add((labels["llmaas.io/model"], host, int(workload.inputs["spec"]["replicas"]), gpus))
    assert asked == {
        (model.slug, host, replicas, model.gpus_per_replica)
        for model in platform.models
        for host, replicas in model.placement.items()
    }


@pytest.mark.parametrize("program", ["vllm", "litellm"])
def test_a_program_without_tls_listens_on_the_loopback_alone(workloads: list[Any], program: str) -> None:
    found = [
        container for workload in workloads for container in workload.pod["containers"] if container["name"] == program
    ]
    assert found
    for container in found:
        assert "--host=127.0.0.1" in container["args"]
        assert "ports" not in container


def test_the_gateway_reads_its_tokenizers_from_the_host_that_it_runs_on(
    declared: list[Any], workloads: list[Any], platform: Platform
) -> None:
    (workload,) = [each for each in workloads if each.name == "litellm-server"]
    (volume,) = [each for each in workload.pod["volumes"] if "persistentVolumeClaim" in each]
    (server,) = workload.pod["containers"]
    (mount,) = [each for each in server["volumeMounts"] if each["name"] == volume["name"]]
    assert mount["readOnly"] is True
    # else the kubelet would give the files to the pod's group
    assert volume["persistentVolumeClaim"]["readOnly"] is True
    claim = volume["persistentVolumeClaim"]["claimName"]
    (bound,) = [each for each in of_kind(declared, "PersistentVolume") if each.inputs["metadata"]["name"] == claim]
    spec = bound.inputs["spec"]
    assert (spec["accessModes"], spec["local"]) == (["ReadOnlyMany"], {"path": mount["mountPath"]})
    assert spec["claimRef"]["namespace"] == workload.namespace
    pod_hosts = workload.pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert spec["nodeAffinity"]["required"] == pod_hosts
    (expression,) = pod_hosts["nodeSelectorTerms"][0]["matchExpressions"]
    assert expression["values"] == [host.name for host in platform.hosts_with_role("service")]


def test_every_tokenizer_that_the_gateway_is_told_of_lies_on_what_it_mounts(
    declared: list[Any], workloads: list[Any]
) -> None:
    texts = [each.inputs["data"]["gateway.yaml"] for each in declared if "gateway.yaml" in each.inputs.get("data", {})]
    (workload,) = [each for each in workloads if each.name == "litellm-server"]
    mounted = [each["mountPath"] for each in workload.pod["containers"][0]["volumeMounts"] if each["name"] != "tmp"]
    paths = [model["tokenizer"] for text in texts for model in yaml.safe_load(text)["models"]]
    assert paths
    assert all(any(path.startswith(f"{folder}/") for folder in mounted) for path in paths)


def test_gateway_and_edge_never_have_two_pods_on_one_host(workloads: list[Any]) -> None:
    for name in ("litellm-server", "edge-proxy"):
        (workload,) = [each for each in workloads if each.name == name]
        spec = workload.inputs["spec"]
        term = workload.pod["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][0]
        assert term["topologyKey"] == "kubernetes.io/hostname"
        assert term["labelSelector"]["matchLabels"] == spec["selector"]["matchLabels"]
        assert spec["replicas"] == 2
        assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}


def test_a_pod_has_time_to_settle_and_drain_before_it_is_killed(workloads: list[Any]) -> None:
    for workload in workloads:
        for container in workload.pod["containers"]:
            settle = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
            if settle:
                assert workload.pod["terminationGracePeriodSeconds"] >= settle + 120


def test_the_proxy_of_a_program_starts_before_it_and_ends_after_it(workloads: list[Any]) -> None:
    for workload in workloads:
        if workload.namespace in {"llmaas-serving", "llmaas-gateway"} and workload.kind == "Deployment":
            (proxy,) = workload.pod["initContainers"]
            assert proxy["restartPolicy"] == "Always"


def test_stable_models_have_a_floor_and_no_other_model_blocks_a_drain(declared: list[Any], platform: Platform) -> None:
    budgets = {
        each.inputs["metadata"]["name"]: each.inputs["spec"]["minAvailable"]
        for each in of_kind(declared, "PodDisruptionBudget")
        if each.namespace == "llmaas-serving"
    }
    assert budgets == {
        f"vllm-{model.slug}": model.minimum_replicas for model in platform.models if model.phase == "stable"
    }


def test_the_edge_is_published_at_the_service_hosts_and_keeps_the_callers_address(
    declared: list[Any], platform: Platform
) -> None:
    (spec,) = [each.inputs["spec"] for each in of_kind(declared, "Service") if "externalIPs" in each.inputs["spec"]]
    assert spec["selector"]["app.kubernetes.io/name"] == "edge"
    assert spec["externalIPs"] == [str(host.address) for host in platform.hosts_with_role("service")]
    assert spec["externalTrafficPolicy"] == "Local"


def test_the_edge_is_published_at_addresses_that_outlive_a_host_and_its_certificate_names_them(
    production: list[Any],
) -> None:
    services = of_kind(production, "Service")
    (spec,) = [each.inputs["spec"] for each in services if "externalIPs" in each.inputs["spec"]]
    assert spec["externalIPs"] == ["10.20.0.21", "10.20.0.22", "10.20.0.23", "10.20.0.7"]
    (leaf,) = [leaf for leaf in leaf_requests(load_platform("production")) if leaf.name == "edge"]
    assert list(leaf.addresses) == spec["externalIPs"]


def test_no_secret_stands_outside_a_secret(declared: list[Any]) -> None:
    assert any(MARK in json.dumps(each.inputs) for each in declared if each.kind == "Secret")
    for each in declared:
        if each.kind != "Secret":
            assert MARK not in json.dumps(each.inputs), each.name


def test_everything_is_named_so_that_a_change_of_files_rolls_the_pods_that_use_them(declared: list[Any]) -> None:
    made = {each.inputs["metadata"]["name"] for each in declared if each.kind in {"ConfigMap", "Secret"}}
    used = set()
    for workload in declared:
        if workload.kind not in {"Deployment", "StatefulSet", "Job"}:
            continue
        for volume in workload.pod["volumes"]:
            used |= {
                volume[kind][key] for kind, key in (("configMap", "name"), ("secret", "secretName")) if kind in volume
            }
        for container in containers(workload):
            used |= {
                variable["valueFrom"]["secretKeyRef"]["name"]
                for variable in container.get("env", [])
                if "valueFrom" in variable
            }
    assert used <= made
    assert made - used == set()
    assert all(each.inputs["immutable"] is True for each in declared if each.kind in {"ConfigMap", "Secret"})


def test_redis_has_room_for_what_it_may_take_and_for_a_child_that_writes_it_anew(
    workloads: list[Any], platform: Platform
) -> None:
    redis = next(workload for workload in workloads if workload.name == "redis-server")
    (container,) = redis.pod["containers"]
    assert container["resources"]["limits"]["memory"] == f"{2 * redis_memory_mib(platform)}Mi"
    assert container["resources"]["requests"]["memory"] == f"{redis_needed_mib(platform)}Mi"
