"""Which of preview's rules can find something in a workload: what passes all others whatever it is proves nothing."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from llmaas_policies.model import Parameters, Resource, Rule, in_force
from llmaas_policies.pack import RULES

WORKLOADS: Final = frozenset(
    {"DaemonSet", "Deployment", "ReplicaSet", "StatefulSet", "CronJob", "Job", "Pod", "ReplicationController"}
)
# Rules about Services, rights, namespaces, volumes, files of configuration, and how an object is asked for.
OF_OTHER_OBJECTS: Final = frozenset(
    {
        "administration-not-public",
        "data-on-encrypted-storage",
        "edge-paths-on-a-list",
        "known-kinds-only",
        "models-served-here-only",
        "network-policy-names-its-peers",
        "no-broad-rights",
        "no-exposed-service",
        "no-external-name",
        "no-ingress-object",
        "only-this-cluster",
        "pod-security-restricted",
        "volumes-on-encrypted-hosts",
    }
)


def of_workloads() -> list[Rule]:
    """The rules that workloads of a running cluster are held against."""
    return [rule for rule in RULES if rule.check is not None and rule.name not in OF_OTHER_OBJECTS]


def excused_by(rule: Rule, resources: Sequence[Resource], parameters: Parameters) -> dict[str, str]:
    """Objects that break a rule and that a waiver excuses from it -> that waiver, in one line."""
    unexcused = replace(parameters, waivers=())
    return {
        resource.label: f"{rule.name} until {waiver.expires}: {waiver.reason}"
        for resource in resources
        for waiver in parameters.waivers
        if in_force([waiver], rule.name, resource, parameters.today)
        and any(rule.findings(resource, unexcused))
        and not any(rule.findings(resource, parameters))
    }
