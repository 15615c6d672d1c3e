"""Which node may leave the cluster, told from its pods and volumes."""

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.llmaas.host.plugins.modules import drained_node
from ansible_collections.llmaas.host.plugins.modules.drained_node import moving, problems, volumes_on

NODE = "gpu-host-09"
OWNER = [{"kind": "ReplicaSet", "name": "r"}]


def hosts(*names: str) -> dict[str, Any]:
    expression = {"key": "kubernetes.io/hostname", "operator": "In", "values": list(names)}
    return {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}


def pod(name: str = "p", *, owners: Any = OWNER, phase: str = "Running", **metadata: Any) -> dict[str, Any]:
    about = {"namespace": "n", "name": name, "ownerReferences": owners, **metadata}
    return {"metadata": about, "spec": {}, "status": {"phase": phase}}


def bound_to(found: dict[str, Any], *names: str) -> dict[str, Any]:
    required = {"requiredDuringSchedulingIgnoredDuringExecution": hosts(*names)}
    return found | {"spec": {"affinity": {"nodeAffinity": required}}}


def volume(*names: str, modes: tuple[str, ...] = ("ReadWriteOnce",)) -> dict[str, Any]:
    claim = {"namespace": "llmaas-data", "name": "postgres-data"}
    spec = {"accessModes": list(modes), "claimRef": claim, "nodeAffinity": {"required": hosts(*names)}}
    return {"metadata": {"name": "v"}, "spec": spec}


def test_a_node_with_pods_that_go_elsewhere_may_leave() -> None:
    assert problems(NODE, [pod(), bound_to(pod(), NODE, "gpu-host-10")], [volume("gpu-host-01")]) == []


@pytest.mark.parametrize(
    "found",
    [
        pod(owners=[{"kind": "DaemonSet", "name": "d"}]),
        pod(phase="Succeeded", owners=[]),
        pod(owners=[], annotations={"kubernetes.io/config.mirror": "x"}),
    ],
    ids=["of a DaemonSet", "ended", "of the node itself"],
)
def test_what_goes_with_the_node_does_not_hold_it(found: dict[str, Any]) -> None:
    assert moving([found]) == []
    assert problems(NODE, [found], []) == []


@pytest.mark.parametrize(
    ("pods", "volumes", "said"),
    [
        ([], [volume(NODE)], "the volume of claim llmaas-data/postgres-data lies on gpu-host-09"),
        ([pod(owners=[])], [], "pod n/p runs on gpu-host-09 and nothing would make it again"),
        ([bound_to(pod(), NODE)], [], "pod n/p may run on gpu-host-09 alone"),
    ],
    ids=["data", "a pod by hand", "a pod of this host"],
)
def test_what_would_be_lost_holds_the_node(pods: Any, volumes: Any, said: str) -> None:
    (found,) = problems(NODE, pods, volumes)
    assert found.startswith(said)


def test_weights_are_no_loss() -> None:
    assert volumes_on([volume(NODE, modes=("ReadOnlyMany",))], NODE) == set()


@pytest.mark.parametrize("joined", [False, True])
def test_a_host_whose_cluster_cannot_be_asked_does_not_leave(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], *, joined: bool
) -> None:
    arguments = {"node": NODE, "joined": joined, "kubeconfig": str(tmp_path / "admin.conf")}
    with patch_module_args(arguments), pytest.raises(SystemExit) as ended:
        drained_node.main()
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (bool(ended.value.code), told.get("state")) == ((True, None) if joined else (False, "there is no cluster"))
    assert not joined or "gpu-host-09 has joined a cluster" in told["msg"]
