"""The loss of any one host leaves every stable model served."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from llmaas_policies.model import UNKNOWN, Parameters, Resource, Severity, Subject, Violation

subject = Subject()
MODEL_LABEL: Final = "llmaas.io/model"
_LEAST_REPLICAS: Final = 2


def _pod_labels(resource: Resource) -> Mapping[str, Any]:
    labels = resource.get("spec.template.metadata.labels")
    return labels if isinstance(labels, Mapping) else {}


def _host(resource: Resource) -> Any:
    """The host to which a deployment's pods are bound, or None."""
    found = resource.get("spec.template.spec.nodeSelector")
    if isinstance(found, Mapping) and "kubernetes.io/hostname" in found:
        return found["kubernetes.io/hostname"]
    terms = resource.get(
        "spec.template.spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"
    )
    for term in terms if isinstance(terms, (list, tuple)) else ():
        for expression in term.get("matchExpressions") or ():
            if expression.get("key") == "kubernetes.io/hostname" and len(expression.get("values") or ()) == 1:
                return expression["values"][0]
    return None


@subject.stack_rule(
    "stable-model-survives-a-host", "Every stable model has at least two replicas on different hosts.",
    Severity.HIGH, ("SecNumCloud 3.2 17.6",), "Place the model on two hosts in the stack file",
)  # fmt: skip
def stable_model_survives_a_host(resources: Sequence[Resource], parameters: Parameters) -> Iterator[Violation]:
    """Kubernetes takes six minutes to replace a lost host's pods; a second replica takes none."""
    deployments = [resource for resource in resources if resource.kind == "Deployment"]
    for model in parameters.stable_models:
        replicas: dict[Any, int] = {}
        for deployment in deployments:
            if _pod_labels(deployment).get(MODEL_LABEL) != model:
                continue
            count = deployment.get("spec.replicas")
            if count is UNKNOWN:
                yield Violation(deployment.label, "spec.replicas is not known at preview")
            host = _host(deployment)
            replicas[host] = replicas.get(host, 0) + (count if isinstance(count, int) else 1)
        if sum(replicas.values()) < _LEAST_REPLICAS:
            yield Violation(model, f"has {sum(replicas.values())} replicas; a stable model needs {_LEAST_REPLICAS}")
        elif len(replicas) < _LEAST_REPLICAS:
            yield Violation(model, f"has all its replicas on {next(iter(replicas)) or 'hosts that are not named'}")


@subject.stack_rule(
    "stable-model-has-disruption-budget", "Every stable model keeps a replica through voluntary disruptions.",
    Severity.MEDIUM, ("SecNumCloud 3.2 17.6",), "Add a PodDisruptionBudget that selects the model's pods",
)  # fmt: skip
def stable_model_has_disruption_budget(resources: Sequence[Resource], parameters: Parameters) -> Iterator[Violation]:
    """Draining two hosts at once must not switch a model off."""
    guarded = set()
    for budget in (resource for resource in resources if resource.kind == "PodDisruptionBudget"):
        labels = budget.get("spec.selector.matchLabels")
        if isinstance(labels, Mapping):
            guarded.add(labels.get(MODEL_LABEL))
    for model in parameters.stable_models:
        if model not in guarded:
            yield Violation(model, "has no PodDisruptionBudget")
