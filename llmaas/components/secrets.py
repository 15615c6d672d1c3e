"""Passwords as Secrets of the namespaces that use them."""

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_kubernetes as k8s

from llmaas.components.pods import Named, of_its_own


@dataclass(frozen=True)
class SecretValues:
    """Keys and values of a Secret; ``version`` marks them, so that another password is another Secret."""

    version: str
    values: Mapping[str, pulumi.Input[str]]


def password_secret(name: str, namespace: str, content: SecretValues, options: pulumi.ResourceOptions) -> Named:
    """An immutable Secret."""
    full_name = f"{name}-{content.version}"
    made = k8s.core.v1.Secret(
        full_name,
        metadata=k8s.meta.v1.ObjectMetaArgs(name=full_name, namespace=namespace),
        type="Opaque",
        immutable=True,
        string_data={key: pulumi.Output.secret(value) for key, value in content.values.items()},
        opts=of_its_own(f"{name}-secret", options),
    )
    return Named(full_name, made)
