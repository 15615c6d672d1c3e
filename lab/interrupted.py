"""Clears what an interrupted update of a Pulumi stack left in the cluster.

The engine notes that it begins to create an object, and forgets the note when it is done. Who ends it in between leaves
an object that the provider refuses to create again, for it could be somebody else's. Such an object is removed, and the
next update makes it anew. Taking it over would leave its first field manager behind, which would keep every field that
the program drops later.
"""

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lab.command import run


def remove_interrupted(
    pulumi: Sequence[str | Path], stack: str, *, folder: Path, environment: Mapping[str, str], log: Path
) -> int:
    """Remove every object whose creation was begun and never noted as done, then the notes.

    Args:
        pulumi: the engine with the options of every call.
        stack: its name.
        folder: of the Pulumi project.
        environment: of the engine and of kubectl.
        log: what is printed is appended to it.

    Returns:
        How many creations were interrupted.

    Raises:
        LabError: an object could not be removed.
    """
    with tempfile.TemporaryDirectory() as temporary:
        export = Path(temporary) / "stack.json"
        run([*pulumi, "stack", "export", "--stack", stack, "--file", export], cwd=folder, environment=environment)
        deployment = json.loads(export.read_text(encoding="utf-8"))["deployment"]
    begun = interrupted_objects(deployment)
    if begun:
        run(
            ["kubectl", "delete", "--ignore-not-found", "--wait", "--timeout=120s", "--filename", "-"],
            environment=environment,
            text_in=json.dumps({"apiVersion": "v1", "kind": "List", "items": begun}),
            log=log,
            remedy="an update was interrupted, and what it began could not be removed; see the log",
        )
    if deployment.get("pending_operations"):
        run(
            [*pulumi, "refresh", "--stack", stack, "--yes", "--skip-preview", "--clear-pending-creates"],
            cwd=folder,
            environment=environment,
            log=log,
            remedy=f"to run it by hand: pulumi refresh -s {stack} --clear-pending-creates",
        )
    return len(begun)


def interrupted_objects(deployment: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Kubernetes objects, by kind and name, whose creation was begun and never noted as done.

    Args:
        deployment: of the state that `pulumi stack export` gives. A note can outlive the creation it speaks of; what is
            among the resources is whole.
    """
    whole = {resource["urn"] for resource in deployment.get("resources", [])}
    begun = []
    for operation in deployment.get("pending_operations", []):
        resource = operation["resource"]
        inputs = resource.get("inputs", {})
        if operation["type"] == "creating" and resource["urn"] not in whole and "kind" in inputs:
            metadata = {name: inputs["metadata"][name] for name in ("name", "namespace") if name in inputs["metadata"]}
            begun.append({"apiVersion": inputs["apiVersion"], "kind": inputs["kind"], "metadata": metadata})
    return begun
