"""The loss of any one host leaves every stable model served."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from llmaas_policies.model import MISSING, UNKNOWN, Parameters, Resource, Severity, Subject, Violation, number

subject = Subject()
MODEL_LABEL: Final = "llmaas.io/model"
_HOST_LABEL: Final = "kubernetes.io/hostname"
_LEAST_REPLICAS: Final = 2
_POD: Final = "spec.template.spec"


def _pod_labels(resource: Resource) -> Mapping[str, Any]:
    labels = resource.get("spec.template.metadata.labels")
    return labels if isinstance(labels, Mapping) else {}


def _items(value: Any) -> Sequence[Any]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, (list, tuple)) else ()


def _host(resource: Resource) -> Any:
    """The host to which a workload's pods are bound, or None."""
    name = resource.get(f"{_POD}.nodeName")
    if isinstance(name, str):
        return name
    selector = resource.get(f"{_POD}.nodeSelector")
    if isinstance(selector, Mapping) and _HOST_LABEL in selector:
        return selector[_HOST_LABEL]
    terms = _items(
        resource.get(f"{_POD}.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms")
    )
    # Several terms are alternatives.
    for expression in _items(terms[0].get("matchExpressions")) if len(terms) == 1 else ():
        values = expression.get("values")
        one = isinstance(values, (list, tuple)) and len(values) == 1
        if expression.get("key") == _HOST_LABEL and expression.get("operator") == "In" and one:
            return values[0]
    return None


def _spread(resource: Resource) -> bool:
    """Whether no two pods of a workload may be on one host."""
    for term in _items(resource.get(f"{_POD}.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution")):
        wanted = term.get("labelSelector")
        labels = wanted.get("matchLabels") if isinstance(wanted, Mapping) else None
        if term.get("topologyKey") == _HOST_LABEL and isinstance(labels, Mapping) and labels:
            return labels.items() <= _pod_labels(resource).items()
    return False


def _of_model(resources: Sequence[Resource], model: str) -> list[Resource]:
    return [
        resource
        for resource in resources
        if resource.kind in {"Deployment", "StatefulSet"} and _pod_labels(resource).get(MODEL_LABEL) == model
    ]


@subject.stack_rule(
    "stable-model-survives-a-host", "Every stable model has at least two replicas on different hosts.",
    Severity.HIGH, ("SecNumCloud 3.2 17.6",), "Place the model on two hosts in the stack file",
)  # fmt: skip
def stable_model_survives_a_host(resources: Sequence[Resource], parameters: Parameters) -> Iterator[Violation]:
    """Kubernetes takes six minutes to replace a lost host's pods; a second replica takes none."""
    for model in parameters.stable_models:
        named: set[Any] = set()
        spread, total = 0, 0
        for workload in _of_model(resources, model):
            wanted = workload.get("spec.replicas")
            count = 1 if wanted is MISSING else int(number(wanted) or 0)
            if wanted is UNKNOWN:
                yield Violation(workload.label, "spec.replicas is not known at preview")
            total += count
            if count > 0:
                host = _host(workload)
                # A workload that is bound to no host may share it with the others.
                named |= set() if host is None else {host}
                spread = max(spread, count if host is None and _spread(workload) else 0)
        if total < _LEAST_REPLICAS:
            yield Violation(model, f"has {total} replicas; a stable model needs {_LEAST_REPLICAS}")
        elif max(len(named), spread) < _LEAST_REPLICAS:
            yield Violation(model, f"may have all its replicas on {next(iter(named), 'one host; bind them to two')}")


def _keeps_one(budget: Resource, replicas: int) -> bool:
    """Whether a disruption budget leaves a pod running."""
    least, most = budget.get("spec.minAvailable"), budget.get("spec.maxUnavailable")
    if isinstance(least, str):
        return least.rstrip("%").isdigit() and int(least.rstrip("%")) > 0
    if isinstance(most, str):
        return most.rstrip("%").isdigit() and int(most.rstrip("%")) < 100
    if number(least) is not None:
        return (number(least) or 0) >= 1
    return number(most) is not None and (number(most) or 0) < replicas


@subject.stack_rule(
    "stable-model-has-disruption-budget", "Every stable model keeps a replica through voluntary disruptions.",
    Severity.MEDIUM, ("SecNumCloud 3.2 17.6",), "Add a PodDisruptionBudget that selects the model's pods",
)  # fmt: skip
def stable_model_has_disruption_budget(resources: Sequence[Resource], parameters: Parameters) -> Iterator[Violation]:
    """Draining two hosts at once must not switch a model off; a budget of zero or of other pods guards nothing."""
    budgets = [resource for resource in resources if resource.kind == "PodDisruptionBudget"]
    for model in parameters.stable_models:
        workloads = _of_model(resources, model)
        replicas = sum(int(number(each.get("spec.replicas")) or 1) for each in workloads)
        unguarded = [
            workload.label
            for workload in workloads
            if not any(_guards(budget, workload) and _keeps_one(budget, replicas) for budget in budgets)
        ]
        if unguarded or not workloads:
            where = f" for {', '.join(unguarded)}" if unguarded else ""
            yield Violation(model, f"has no PodDisruptionBudget that keeps a replica{where}")


def _guards(budget: Resource, workload: Resource) -> bool:
    labels = budget.get("spec.selector.matchLabels")
    return (
        budget.namespace == workload.namespace
        and isinstance(labels, Mapping)
        and bool(labels)
        and budget.get("spec.selector.matchExpressions") in (MISSING, [], ())
        and labels.items() <= _pod_labels(workload).items()
    )
