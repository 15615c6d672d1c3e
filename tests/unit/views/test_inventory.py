"""Which hosts get which files of the served artefacts, and by which names they know the site."""

from typing import Any

import pytest
import yaml

from llmaas.paths import PROJECT_ROOT
from llmaas.settings import load_platform
from llmaas.views.inventory import RUNTIME_PACKAGES, RUNTIME_UNITS, inventory

FOLDER = "/var/lib/llmaas/volumes/tokenizers"


def names(hosts: dict[str, Any], variable: str) -> dict[str, list[str]]:
    return {host: [each["name"] for each in found[variable]] for host, found in hosts.items() if found.get(variable)}


@pytest.mark.parametrize(
    ("environment", "served"),
    [
        ("lab", ["tiny-llama"]),
        ("production", ["granite-3.3-8b-instruct", "llama-3.1-70b-instruct", "llama-3.2-3b-instruct"]),
    ],
)
def test_every_host_of_the_gateway_gets_the_tokenizers_of_all_served_models(
    environment: str, served: list[str]
) -> None:
    platform = load_platform(environment)
    view = inventory(platform)
    found = names(view["hosts"], "model_weights_tokenizers")
    assert found == dict.fromkeys(view["groups"]["service"], served)
    for host in view["groups"]["service"]:
        assert view["hosts"][host]["model_weights_tokenizers_folder"] == FOLDER
        for entry in view["hosts"][host]["model_weights_tokenizers"]:
            assert entry["manifest_file"].endswith(f"/stacks/{platform.artefact(entry['name']).manifest}")


def test_the_tokenizer_of_a_removed_model_goes() -> None:
    platform = load_platform("production")
    *others, last = platform.models
    removed = platform.model_copy(update={"models": (*others, last.model_copy(update={"phase": "removed"}))})
    found = names(inventory(removed)["hosts"], "model_weights_tokenizers")
    assert found["gpu-host-01"] == ["granite-3.3-8b-instruct", "llama-3.2-3b-instruct"]


def test_weights_are_placed_where_the_models_run_and_nowhere_else() -> None:
    found = names(inventory(load_platform("production"))["hosts"], "model_weights_artefacts")
    assert found["gpu-host-09"] == ["llama-3.1-70b-instruct", "llama-3.2-3b-instruct"]
    assert "gpu-host-01" not in found


def test_hosts_know_every_service_of_the_site_by_its_name() -> None:
    variables = inventory(load_platform("production"))["all"]
    assert variables["base_host_names"]["10.20.0.1"] == ["registry.llm.example.fr", "mirror.llm.example.fr"]
    assert variables["packages_mirror_name"] == "mirror.llm.example.fr"
    assert variables["packages_mirror_address"] == "10.20.0.1"


def test_a_key_server_is_made_as_hosts_are_but_for_what_pods_need() -> None:
    platform = load_platform("production")
    view = inventory(platform)
    names = ["key-01", "key-02"]
    assert view["groups"]["key_servers"] == names
    assert view["groups"]["machines"] == [*view["groups"]["nodes"], *names]
    server, host = view["hosts"]["key-01"], view["hosts"]["gpu-host-04"]
    assert set(host["packages_names"]) - set(server["packages_names"]) == set(RUNTIME_PACKAGES)
    assert server["packages_masked_units"] == host["packages_masked_units"]
    assert "packages_held_units" not in server
    assert server["trust_names"] == ["key-01.llm.example.fr", "key-01"]
    assert server["trust_addresses"] == ["10.20.0.51"]
    assert server["firewall_forward"] == []
    assert server["base_carries_pods"] is False
    assert "base_carries_pods" not in host
    assert view["all"]["base_host_names"]["10.20.0.51"] == server["trust_names"]
    # pods ask no key server
    assert "10.20.0.51" not in view["all"]["control_plane_host_names"]


def test_the_logs_of_a_key_server_leave_it_and_its_silence_is_noticed() -> None:
    hosts = inventory(load_platform("production"))["hosts"]
    for name in ("key-01", "key-02"):
        assert hosts[name]["log_client_hosts"] == hosts["gpu-host-04"]["log_client_hosts"]
        assert [rule["name"] for rule in hosts[name]["firewall_output"]].count("logs-of-key-servers") == 1
    for log_host in ("control-02", "control-03"):
        assert {"key-01", "key-02"} <= set(hosts[log_host]["log_host_senders"])
        assert "logs-of-key-servers" in [rule["name"] for rule in hosts[log_host]["firewall_input"]]


def test_a_service_of_the_site_that_has_no_name_needs_none() -> None:
    variables = inventory(load_platform("lab"))["all"]
    assert variables["base_host_names"]["10.77.0.1"] == ["registry.lab.llmaas.internal"]
    assert not variables["packages_mirror_name"]


def test_what_installation_does_not_start_a_role_starts_once_the_disks_are_mounted() -> None:
    hosts = inventory(load_platform("production"))["hosts"]
    assert hosts["gpu-host-04"]["packages_held_units"] == list(RUNTIME_UNITS)
    tasks = yaml.safe_load((PROJECT_ROOT / "ansible/roles/container_runtime/tasks/main.yml").read_text())
    started = {unit["name"] for task in tasks for unit in task.get("llmaas.host.file_set", {}).get("units", [])}
    assert started >= set(RUNTIME_UNITS)
    plays = yaml.safe_load((PROJECT_ROOT / "ansible/playbooks/site.yml").read_text())
    order = [play["ansible.builtin.import_playbook"] for play in plays]
    assert order.index("foundation.yml") < order.index("cluster.yml")
