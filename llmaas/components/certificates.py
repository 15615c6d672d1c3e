"""The certificates of our authority as Secrets of the namespaces whose pods use them."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_kubernetes as k8s


@dataclass(frozen=True)
class Certificate:
    """One certificate; ``serial`` is its public mark, so that a renewed one gets a name of its own."""

    name: str
    namespace: str
    serial: str
    certificate: pulumi.Input[str]
    key: pulumi.Input[str]
    ca: pulumi.Input[str]


@dataclass(frozen=True)
class CertificatesArgs:
    """All certificates that go into the cluster."""

    certificates: Sequence[Certificate]


class Certificates(pulumi.ComponentResource):
    """Secrets with tls.crt, tls.key, ca.crt and, as HAProxy reads it, tls.pem. ``names`` maps leaf to Secret."""

    def __init__(self, name: str, args: CertificatesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmaas:isolation:Certificates", name, None, opts)
        self.names: dict[str, str] = {}
        for each in args.certificates:
            secret = f"tls-{each.name}-{each.serial}"
            self.names[each.name] = secret
            k8s.core.v1.Secret(
                f"{name}-{each.name}",
                metadata=k8s.meta.v1.ObjectMetaArgs(name=secret, namespace=each.namespace),
                type="kubernetes.io/tls",
                immutable=True,
                string_data={
                    "tls.crt": each.certificate,
                    "tls.key": each.key,
                    "tls.pem": pulumi.Output.concat(each.certificate, each.key),
                    "ca.crt": each.ca,
                },
                opts=pulumi.ResourceOptions(parent=self),
            )
        self.register_outputs({"names": self.names})
