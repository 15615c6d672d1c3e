"""Log hosts: on machines other than the senders, and six months at least; every mistake has its path."""

import copy
from typing import Any

from unit.settings.mistakes import problems

from llmaas.settings import build_platform
from llmaas.settings.source import sections_of_file
from llmaas.views.inventory import inventory


def sections(environment: str, *log_hosts: str, days: int = 365) -> dict[str, Any]:
    found = copy.deepcopy(sections_of_file(environment)[1])
    for host in found["hosts"]:
        host["roles"] = [*(role for role in host["roles"] if role != "log"), *(["log"] * (host["name"] in log_hosts))]
    found["retention"]["logs"]["days"] = days
    return found


def test_outside_a_lab_somebody_keeps_the_logs_and_somebody_else_those_of_the_keeper() -> None:
    assert problems(sections("production")) == [
        "llmaas:hosts: no host has the role log; give it to two hosts: each keeps the other's logs too"
    ]
    assert problems(sections("production", "control-02")) == [
        "llmaas:hosts: only control-02 has the role log, so its own logs lie nowhere else; give it to another too"
    ]


def test_six_months_are_the_least_outside_a_lab() -> None:
    assert problems(sections("production", "control-02", "control-03", days=179)) == [
        "llmaas:retention.logs.days: 179 is less than the 180 days that logs are kept outside a lab; give more"
    ]
    build_platform("stack", sections("production", "control-02", "control-03", days=180))
    build_platform("stack", sections("lab", "gpu-host-10", days=7))


def test_how_long_logs_are_kept_is_said_wherever_there_are_log_hosts() -> None:
    raw = sections("lab", "gpu-host-10")
    del raw["retention"]
    assert problems(raw) == [
        "llmaas:retention: is missing; log hosts delete by it: give a mapping with logs and the others"
    ]


def test_hosts_keep_their_own_logs_as_long_as_log_hosts_do() -> None:
    common = inventory(build_platform("stack", sections("production", "control-02", "control-03", days=180)))["all"]
    assert (common["base_journal_retention"], common["control_plane_audit_log_days"]) == ("180day", 180)


def test_outside_a_lab_kept_logs_lie_on_an_encrypted_device() -> None:
    raw = sections("production", "control-02", "control-03")
    raw["hosts"][1]["data_devices"] = []
    raw["hosts"][2]["data_devices"][0]["purpose"] = "logs"
    assert problems(raw) == [
        f"llmaas:hosts[{index}].data_devices: has no log_store, so all hosts' logs would lie on a plain disk;"
        " give it a device of that purpose"
        for index in (1, 2)
    ]
    # a lab, whose hosts are containers, keeps logs of nobody
    build_platform("stack", sections("lab", "gpu-host-10"))


def test_every_host_sends_to_every_log_host_but_itself() -> None:
    hosts = inventory(build_platform("stack", sections("lab", "gpu-host-10", "gpu-host-11")))["hosts"]
    sent = {name: [other["name"] for other in each["log_client_hosts"]] for name, each in hosts.items()}
    assert sent.pop("gpu-host-10") == ["gpu-host-11"]
    assert sent.pop("gpu-host-11") == ["gpu-host-10"]
    assert set(map(tuple, sent.values())) == {("gpu-host-10", "gpu-host-11")}


def test_a_log_host_takes_the_logs_of_all_others_and_no_other_host_takes_any() -> None:
    hosts = inventory(build_platform("stack", sections("lab", "gpu-host-10")))["hosts"]
    assert set(hosts["gpu-host-10"]["log_host_senders"]) == set(hosts) - {"gpu-host-10"}
    assert hosts["gpu-host-10"]["log_host_retention_days"] == 365
    assert [name for name, each in hosts.items() if "log_host_senders" in each] == ["gpu-host-10"]
    # a lone log host has nowhere to send its own
    assert hosts["gpu-host-10"]["log_client_hosts"] == []


def test_the_audit_log_of_the_kubernetes_api_leaves_control_hosts() -> None:
    hosts = inventory(build_platform("stack", sections("lab", "gpu-host-10")))["hosts"]
    files = {name: [file["path"] for file in each["log_client_files"]] for name, each in hosts.items()}
    assert files.pop("control-01") == ["/var/log/kubernetes/audit/audit.log"]
    assert set(map(tuple, files.values())) == {()}
