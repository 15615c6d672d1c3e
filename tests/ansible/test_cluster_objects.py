"""What the role control_plane gives the cluster to hold, as Ansible renders it."""

from typing import Any

import pytest
import yaml
from role_templates import render

from llmaas.settings import load_platform
from llmaas.views.inventory import inventory
from llmaas.views.network_policies import name_service_policy

TEMPLATES = {"control_plane": ("coredns.yaml.j2", "name-service-policy.yaml.j2")}


@pytest.fixture(scope="module", params=["lab", "production"])
def environment(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def objects(environment: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Every object by its kind."""
    folder = tmp_path_factory.mktemp("rendered")
    render(folder, TEMPLATES, inventory(load_platform(environment))["all"])
    texts = [(folder / name.removesuffix(".j2")).read_text() for name in TEMPLATES["control_plane"]]
    found = [each for text in texts for each in yaml.safe_load_all(text)]
    assert len(found) == len(TEMPLATES["control_plane"])
    return {each["kind"]: each for each in found}


def test_the_name_service_gets_the_policy_that_the_flow_matrix_makes(objects: dict[str, Any], environment: str) -> None:
    policy = objects["NetworkPolicy"]
    wanted = name_service_policy(load_platform(environment))
    assert policy["apiVersion"] == "networking.k8s.io/v1"
    assert policy["metadata"] == {"name": "name-service", "namespace": "kube-system"}
    assert policy["spec"] == wanted.spec


def test_the_name_service_passes_no_question_on(objects: dict[str, Any]) -> None:
    """Its policy lets it ask the Kubernetes API alone: whatever needed more would not work."""
    plugins = {line.split()[0] for line in objects["ConfigMap"]["data"]["Corefile"].splitlines() if line.strip()}
    assert "kubernetes" in plugins
    assert plugins & {"forward", "prometheus", "etcd", "grpc", "secondary", "transfer", "trace", "tls"} == set()
