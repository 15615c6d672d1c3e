"""Why pods are not ready: what a user wants to read when a Deployment, Job or Service does not come up."""

from collections.abc import Mapping
from typing import Any

_MOST_SHOWN = 5


def unready_reasons(pods: list[dict[str, Any]]) -> list[str]:
    """List the reasons of pods that are not ready, those that tell most first."""
    reasons = [reason for pod in pods for reason in _reasons(pod)]
    shown = reasons[:_MOST_SHOWN]
    if len(reasons) > len(shown):
        shown.append(f"and {len(reasons) - len(shown)} more")
    return shown


def is_ready(pod: Mapping[str, Any]) -> bool:
    """Tell whether a pod is ready, or has done its work."""
    status = pod.get("status") or {}
    return status.get("phase") == "Succeeded" or condition(pod, "Ready").get("status") == "True"


def condition(body: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Give a condition of an object, empty if it has none of that type."""
    for entry in (body.get("status") or {}).get("conditions") or []:
        if entry.get("type") == kind:
            return dict(entry)
    return {}


def _reasons(pod: Mapping[str, Any]) -> list[str]:
    if is_ready(pod) or (pod.get("metadata") or {}).get("deletionTimestamp"):
        return []
    metadata, status = pod["metadata"], pod.get("status") or {}
    where = f"[Pod {metadata.get('namespace')}/{metadata.get('name')}]"
    found = [
        f"{where}: container {entry['name']}: {text}"
        for entry in (status.get("initContainerStatuses") or []) + (status.get("containerStatuses") or [])
        if (text := _container_reason(entry))
    ]
    for kind in ("PodScheduled", "Ready"):
        entry = condition(pod, kind)
        if not found and entry.get("status") == "False" and entry.get("message"):
            found.append(f"{where}: {entry.get('reason', kind)}: {entry['message']}")
    if not found and status.get("message"):
        found.append(f"{where}: {status.get('reason', status.get('phase'))}: {status['message']}")
    return found


def _container_reason(entry: Mapping[str, Any]) -> str:
    state, last = entry.get("state") or {}, (entry.get("lastState") or {}).get("terminated") or {}
    waiting, ended = state.get("waiting") or {}, state.get("terminated") or {}
    if waiting.get("reason") in {"ContainerCreating", "PodInitializing"}:
        return ""
    if waiting:
        text = f"{waiting.get('reason', 'Waiting')}: {waiting.get('message', 'no message')}"
        return f"{text} (last exit status {last['exitCode']})" if "exitCode" in last else text
    if ended and ended.get("exitCode", 0) != 0:
        text = f"{ended.get('reason', 'Error')}: exit status {ended['exitCode']}"
        return f"{text}: {ended['message'].strip()}" if ended.get("message") else text
    return ""
