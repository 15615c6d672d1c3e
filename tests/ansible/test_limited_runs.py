"""A run that is limited to some hosts asks nothing of the others: one that is away must not end it."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from playbooks import LOCAL, run_play

from llmaas.paths import PROJECT_ROOT

CONTROL, OTHERS = ("control-01", "control-02"), ("gpu-host-01", "gpu-host-02")
DECLARED = (*CONTROL, *OTHERS)
# nobody declares it any more, and the cluster still has it
FORGOTTEN = "gpu-host-09"
KUBECTL = f"""#!{sys.executable}
import json, os, sys
with open(os.environ["TOLD"], "a") as told:
    print(*sys.argv[1:], file=told)
names = os.environ["NODES"].split()
items = [{{"metadata": {{"name": name, "labels": {{}}}}, "spec": {{}}}} for name in names]
print(json.dumps({{"items": items}}) if "get" in sys.argv else "")
"""


def labelled(folder: Path, limit: str, in_cluster: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Run the playbook's play of labels; the nodes that get labels, and those that are waited for."""
    program = folder / "bin" / "kubectl"
    program.parent.mkdir()
    program.write_text(KUBECTL)
    program.chmod(0o755)
    plays = yaml.safe_load((PROJECT_ROOT / "ansible" / "playbooks" / "cluster.yml").read_text())
    (play,) = (each for each in plays if {"role": "node_labels"}.items() <= (each.get("roles") or [{}])[0].items())
    # it finds its programs and its cluster here
    play["module_defaults"] = {"llmaas.host.node_state": {"kubectl": str(program), "kubeconfig": str(program)}}
    declared: dict[str, Any] = {name: {"labels": {"llmaas.io/role": "true"}, "taints": []} for name in DECLARED}
    inventory = {
        "control": {"hosts": dict.fromkeys(CONTROL)},
        "nodes": {"hosts": dict.fromkeys(DECLARED)},
        "all": {"vars": LOCAL | {"node_labels_nodes": declared}},
    }
    told = folder / "told"
    told.touch()
    variables = {
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "TOLD": str(told),
        "NODES": " ".join(in_cluster),
    }
    done = run_play(folder, inventory, play, "--limit", limit, **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line.split() for line in told.read_text().splitlines()]
    patched = [words[words.index("node") + 1] for words in lines if "patch" in words]
    waited = [words[words.index("nodes") + 1 :] for words in lines if "wait" in words]
    return patched, [name for names in waited for name in names]


@pytest.mark.parametrize(
    ("limit", "in_cluster", "wanted"),
    [
        ("all", (*DECLARED, FORGOTTEN), [*DECLARED]),
        ("!gpu-host-02", DECLARED, [*CONTROL, "gpu-host-01"]),
        # it was never there, or was deleted from the cluster
        ("!gpu-host-02", (*CONTROL, "gpu-host-01"), [*CONTROL, "gpu-host-01"]),
        ("!control-01", DECLARED, ["control-02", *OTHERS]),
        ("gpu-host-01", DECLARED, []),
    ],
    ids=[
        "a node that nobody declares",
        "a host is away",
        "it is no node",
        "the first control host is away",
        "no control",
    ],
)
def test_only_nodes_of_the_run_are_labelled_and_waited_for(
    tmp_path: Path, limit: str, in_cluster: tuple[str, ...], wanted: list[str]
) -> None:
    patched, waited = labelled(tmp_path, limit, in_cluster)
    assert (patched, waited) == (wanted, wanted)
