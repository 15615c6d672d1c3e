"""Who may use the Kubernetes API: no pod without need, and nobody more than he needs."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from llmaas_policies.model import MISSING, UNKNOWN, Parameters, Resource, Severity, Subject, Violation, must_be
from llmaas_policies.pods import Part, parts, pod_of, volumes_of

subject = Subject()

_STRONG_VERBS: Final = {"*", "bind", "escalate", "impersonate"}
_STRONG_RESOURCES: Final = {
    "*", "secrets", "pods/exec", "pods/attach", "pods/portforward", "pods/ephemeralcontainers", "nodes/proxy",
    "serviceaccounts/token", "certificatesigningrequests/approval", "roles", "clusterroles", "rolebindings",
    "clusterrolebindings", "validatingwebhookconfigurations", "mutatingwebhookconfigurations", "persistentvolumes",
}  # fmt: skip
# Who may make or change these runs what he likes.
_WORKLOADS: Final = {
    "pods", "deployments", "statefulsets", "daemonsets", "replicasets", "replicationcontrollers", "jobs", "cronjobs",
}  # fmt: skip
_STRONG_ROLES: Final = {"cluster-admin", "admin", "edit"}
_EVERYBODY: Final = ("system:anonymous", "system:unauthenticated", "system:authenticated", "system:serviceaccounts",
                     "system:masters", "system:nodes")  # fmt: skip


@subject.rule(
    "no-service-account-token", "No pod gets a token of the Kubernetes API that it does not use.", Severity.HIGH,
    ("CIS Kubernetes 5.1.6",), "Set automountServiceAccountToken: false, or name a waiver for a pod that needs it",
    waivable=True,
)  # fmt: skip
def no_service_account_token(resource: Resource, _: Parameters) -> Iterator[Violation]:
    """A stolen token is a way into the cluster, whether it is mounted by itself, projected or made as a Secret."""
    meaning = "it must be false"
    if resource.kind == "ServiceAccount":
        value = resource.get("automountServiceAccountToken")
        yield from must_be(value, "automountServiceAccountToken", meaning, expected=False)
    if resource.kind == "Secret":
        kind = resource.get("type")
        if kind is UNKNOWN or kind == "kubernetes.io/service-account-token":
            yield Violation("type", f"is {kind!r}; a token that never ends must not be made")
    for pod in pod_of(resource):
        if isinstance(pod, Violation):
            yield pod
        else:
            path = f"{pod.path}.automountServiceAccountToken"
            yield from must_be(pod.get("automountServiceAccountToken"), path, meaning, expected=False)
    yield from _projected_tokens(resource)


def _projected_tokens(resource: Resource) -> Iterator[Violation]:
    for volume in volumes_of(resource):
        if isinstance(volume, Violation):
            yield volume
            continue
        projected = volume.get("projected")
        if projected is UNKNOWN:
            yield Violation(f"{volume.path}.projected", "is not known at preview")
        sources = Part(f"{volume.path}.projected", projected if isinstance(projected, Mapping) else {})
        for source in parts(sources, "sources"):
            if isinstance(source, Violation):
                yield source
            elif source.get("serviceAccountToken") is not MISSING:
                yield Violation(f"{source.path}.serviceAccountToken", "projects a token of the Kubernetes API")


def _texts(rule: Part, name: str) -> tuple[set[str], bool]:
    """The entries of a list of a role's rule, and whether all are known."""
    found = rule.get(name)
    if found is MISSING:
        return set(), True
    if not isinstance(found, (list, tuple)) or UNKNOWN in found:
        return set(), False
    return {str(each).lower() for each in found}, True


def _rights(rule: Part) -> Iterator[Violation]:
    lists = {name: _texts(rule, name) for name in ("verbs", "resources", "apiGroups", "nonResourceURLs")}
    for name, (_, known) in lists.items():
        if not known:
            yield Violation(f"{rule.path}.{name}", "is not known at preview")
    verbs, resources = lists["verbs"][0], lists["resources"][0]
    for verb in sorted(verbs & _STRONG_VERBS):
        yield Violation(f"{rule.path}.verbs", f"{verb!r} is more than any part needs")
    for name in sorted(resources):
        runs = {"create"} if name == "pods" else {"create", "patch", "update"}
        workload = name in _WORKLOADS and bool(verbs & runs)
        if verbs and (workload or name in _STRONG_RESOURCES or "*" in name):
            yield Violation(f"{rule.path}.resources", f"{name!r} is more than any part needs")
    for name in ("apiGroups", "nonResourceURLs"):
        if any("*" in each for each in lists[name][0]):
            yield Violation(f"{rule.path}.{name}", "'*' is everything")


def _binding(resource: Resource) -> Iterator[Violation]:
    role = resource.get("roleRef.name")
    if not isinstance(role, str):
        yield Violation("roleRef.name", "is missing or not known at preview")
    elif role in _STRONG_ROLES or role.startswith("system:"):
        yield Violation("roleRef.name", f"{role} gives more than any part needs")
    for person in parts(Part("", resource.body), "subjects"):
        if isinstance(person, Violation):
            yield Violation(person.path.lstrip("."), person.text)
            continue
        name: Any = person.get("name")
        path = f"{person.path.lstrip('.')}.name"
        if not isinstance(name, str):
            yield Violation(path, "is missing or not known at preview")
        elif name.startswith(_EVERYBODY) or (name == "default" and person.get("kind") == "ServiceAccount"):
            yield Violation(path, f"{name} is everybody")


@subject.rule(
    "no-broad-rights", "No role or binding gives everything, secrets, shells or rights over rights.", Severity.CRITICAL,
    ("CIS Kubernetes 5.1.1", "CIS Kubernetes 5.1.3", "SecNumCloud 3.2 9.1.a"),
    "Name the resources and verbs that the part uses, or name a waiver", waivable=True,
)  # fmt: skip
def no_broad_rights(resource: Resource, _: Parameters) -> Iterator[Violation]:
    """Who may read secrets, open a shell in a pod or bind roles is an administrator by another name."""
    if resource.kind in {"Role", "ClusterRole"}:
        if resource.get("aggregationRule") is not MISSING:
            yield Violation("aggregationRule", "collects rights that stand elsewhere")
        for rule in parts(Part("", resource.body), "rules"):
            if isinstance(rule, Violation):
                yield Violation(rule.path.lstrip("."), rule.text)
            else:
                yield from _rights(Part(rule.path.lstrip("."), rule.body))
    elif resource.kind in {"RoleBinding", "ClusterRoleBinding"}:
        yield from _binding(resource)
