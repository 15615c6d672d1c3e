"""What may run: images by digest, from our registry, in versions without known holes."""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from packaging.version import InvalidVersion, Version

from llmaas_policies.model import UNKNOWN, Parameters, Resource, Severity, Subject, Violation
from llmaas_policies.pods import Part, containers_of, pod_of, program_of

subject = Subject()

_DIGEST: Final = re.compile(r"@sha256:[0-9a-f]{64}$")
# 1.82.7 and 1.82.8 carried a credential stealer. Below 1.84.0 the Host header passes authentication
# (CVE-2026-49468), below 1.83.7 the key check takes SQL (CVE-2026-42208).
_LITELLM_FLOOR: Final = Version("1.84.0")
_LITELLM_REFUSED: Final = {Version("1.82.7"), Version("1.82.8")}
# CVE-2026-114053: code_revision through the unauthenticated /tokenize.
_VLLM_FLOOR: Final = Version("0.31.0")


def _images(resource: Resource) -> Iterator[tuple[Part, str] | Violation]:
    for container in containers_of(resource):
        if isinstance(container, Violation):
            yield container
            continue
        image = container.get("image")
        if isinstance(image, str) and image:
            yield container, image
        else:
            state = "is not known at preview" if image is UNKNOWN else "is missing"
            yield Violation(f"{container.path}.image", state)


@subject.rule(
    "image-by-digest", "Every container's image is named by its SHA-256 digest.", Severity.HIGH,
    ("SecNumCloud 3.2 12.10.a", "CIS Kubernetes 5.5.1"), "Take the reference from the lock: llmaas images lock",
)  # fmt: skip
def image_by_digest(resource: Resource, _: Parameters) -> Iterator[Violation]:
    """A tag may be moved; a digest may not."""
    for found in _images(resource):
        if isinstance(found, Violation):
            yield found
        elif not _DIGEST.search(found[1]):
            yield Violation(f"{found[0].path}.image", f"{found[1]!r} is not named by a digest")


@subject.rule(
    "image-from-our-registry", "Every image comes from the environment's own registry.", Severity.HIGH,
    ("SecNumCloud 3.2 12.10.a", "SecNumCloud 3.2 19.2.a"), "Push the image to the registry of the stack file",
)  # fmt: skip
def image_from_our_registry(resource: Resource, parameters: Parameters) -> Iterator[Violation]:
    """An image from elsewhere is code and a dependency that nobody here has checked."""
    for found in _images(resource):
        if isinstance(found, Violation):
            yield found
        elif not found[1].startswith(f"{parameters.registry}/"):
            yield Violation(f"{found[0].path}.image", f"{found[1]!r} is not from {parameters.registry}")


def _declared_version(resource: Resource, image: str) -> object:
    """The tag beside the digest, else the pod's version label."""
    tag = re.search(r":([^:/@]+)@", image)
    if tag:
        return tag.group(1)
    for pod in pod_of(resource):
        if isinstance(pod, Part):
            labels = resource.get(f"{pod.path.removesuffix('spec')}metadata.labels")
            return labels.get("app.kubernetes.io/version") if isinstance(labels, Mapping) else labels
    return None


@subject.rule(
    "version-without-known-holes", "LiteLLM and vLLM run in versions without known severe holes.", Severity.CRITICAL,
    ("SecNumCloud 3.2 12.11.a",), "Build a newer version: LiteLLM from 1.84.0 (never 1.82.7/8), vLLM from 0.31.0",
)  # fmt: skip
def version_without_known_holes(resource: Resource, _: Parameters) -> Iterator[Violation]:
    """The version stands as a tag beside the digest, or as the pod's label app.kubernetes.io/version."""
    for found in _images(resource):
        if isinstance(found, Violation):
            yield found
            continue
        container, image = found
        program = program_of(container)
        if program not in {"litellm", "vllm"}:
            continue
        declared = _declared_version(resource, image)
        try:
            version = Version(str(declared))
        except InvalidVersion:
            yield Violation(f"{container.path}.image", f"{program} without a version that can be judged: {declared!r}")
            continue
        refused = version in _LITELLM_REFUSED or version < (_LITELLM_FLOOR if program == "litellm" else _VLLM_FLOOR)
        if refused:
            yield Violation(f"{container.path}.image", f"{program} {version} has known holes")
