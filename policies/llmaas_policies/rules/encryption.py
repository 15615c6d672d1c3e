"""On the wire TLS 1.3, on the disk only encrypted storage, and no secret in the clear."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from llmaas_policies.model import MISSING, UNKNOWN, Parameters, Resource, Severity, Subject, Violation
from llmaas_policies.pods import arguments_of, containers_of, environment_of

subject = Subject()

_OLD_TLS: Final = re.compile(r"(?i)\b(TLS\s?v?1(\.[012]|[012])?|VersionTLS1[012]|SSLv[23])(?![.\d])")
_SECRET_NAME: Final = re.compile(
    r"(?i)(PASSWORD|PASSWD|SECRET|TOKEN|API_?KEY|MASTER_?KEY|SALT|PRIVATE_?KEY|CREDENTIAL)"
)
_NOT_A_SECRET: Final = re.compile(r"(?i)(_FILE|_PATH|_DIR|MAX_.*TOKENS?|_TOKENS|_NAME)$")
_SECRET_TEXT: Final = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----|\bsk-[A-Za-z0-9_-]{16,}|://[^/\s:@]+:(?!\$)[^/\s@$]{3,}@"
)


def _texts(resource: Resource) -> Iterator[tuple[str, str] | Violation]:
    """Configuration that stands in the open: ConfigMaps, arguments and environment, with paths."""
    if resource.kind == "ConfigMap":
        data = resource.get("data")
        if data is UNKNOWN:
            yield Violation("data", "is not known at preview")
        for name, text in data.items() if isinstance(data, Mapping) else ():
            yield Violation(f"data[{name}]", "is not known at preview") if text is UNKNOWN else (f"data[{name}]", text)
    for container in containers_of(resource):
        if isinstance(container, Violation):
            yield container
            continue
        for argument in arguments_of(container):
            yield argument if isinstance(argument, Violation) else (f"{container.path}.args", argument)
        for variable in environment_of(container):
            if isinstance(variable, Violation):
                yield variable
            elif isinstance(variable.get("value"), str):
                yield f"{variable.path}.value", variable.get("value")


def _without_comments(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith(("#", "//")))


@subject.rule(
    "tls-1-3-only", "Wherever a TLS version is set, it is 1.3.", Severity.CRITICAL,
    ("SecNumCloud 3.2 10.2.a", "ANSSI TLS R3"), "Write TLSv1.3 as the minimum",
)  # fmt: skip
def tls_1_3_only(resource: Resource, _: Parameters) -> Iterator[Violation]:
    """The oldest version that a listener takes is the one an attacker chooses."""
    for found in _texts(resource):
        if isinstance(found, Violation):
            yield found
            continue
        path, text = found
        for match in _OLD_TLS.finditer(_without_comments(text)):
            yield Violation(path, f"names {match.group(0)}; only TLS 1.3 is allowed")


@subject.rule(
    "no-plain-secret", "No password, key or token stands in an environment variable, an argument or a ConfigMap.",
    Severity.CRITICAL, ("SecNumCloud 3.2 10.5.c", "CIS Kubernetes 5.4.1"),
    "Put it in a Secret and refer to it by secretKeyRef or a mounted file",
)  # fmt: skip
def no_plain_secret(resource: Resource, _: Parameters) -> Iterator[Violation]:
    """What stands in a pod's specification is read by everybody who may list pods."""
    for container in containers_of(resource):
        if isinstance(container, Violation):
            yield container
            continue
        for variable in environment_of(container):
            if isinstance(variable, Violation):
                yield variable
                continue
            name = str(variable.get("name"))
            value = variable.get("value")
            if value not in (MISSING, "") and _SECRET_NAME.search(name) and not _NOT_A_SECRET.search(name):
                yield Violation(f"{variable.path}.value", f"{name} has a value in the clear")
    for found in _texts(resource):
        if isinstance(found, tuple) and _SECRET_TEXT.search(found[1]):
            yield Violation(found[0], "holds what looks like a private key, an API key or a password in an address")


def _local_path(resource: Resource) -> Any:
    return resource.get("spec.local.path")


@subject.rule(
    "data-on-encrypted-storage", "Every persistent volume lies on an encrypted file system of its host.",
    Severity.CRITICAL, ("SecNumCloud 3.2 10.1.a",),
    "Use a local volume below one of the encrypted paths that the stack file declares",
)  # fmt: skip
def data_on_encrypted_storage(resource: Resource, parameters: Parameters) -> Iterator[Violation]:
    """A disk that leaves the building must be noise."""
    if resource.kind != "PersistentVolume":
        return
    path = _local_path(resource)
    if not isinstance(path, str):
        yield Violation("spec.local.path", "is missing or not known; only local volumes on encrypted paths are allowed")
    elif ".." in path.split("/") or not any(path.startswith(f"{p.rstrip('/')}/") for p in parameters.encrypted_paths):
        yield Violation("spec.local.path", f"{path} is below none of {', '.join(parameters.encrypted_paths)}")


@subject.rule(
    "no-storage-from-elsewhere", "Claims are bound to declared local volumes; nothing is provisioned elsewhere.",
    Severity.HIGH, ("SecNumCloud 3.2 10.1.a", "SecNumCloud 3.2 19.2.a"),
    "Name a storageClassName that has no provisioner, and a volumeName or a selector",
)  # fmt: skip
def no_storage_from_elsewhere(resource: Resource, _: Parameters) -> Iterator[Violation]:
    """A storage class with a provisioner puts data where nobody has encrypted it."""
    if resource.kind == "StorageClass" and resource.get("provisioner") != "kubernetes.io/no-provisioner":
        yield Violation(
            "provisioner", f"is {resource.get('provisioner')!r}; only kubernetes.io/no-provisioner is allowed"
        )
    if resource.kind == "PersistentVolumeClaim" and resource.get("spec.storageClassName") in (MISSING, UNKNOWN):
        yield Violation("spec.storageClassName", "is missing, so the cluster's default would decide")
