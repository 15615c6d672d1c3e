"""What may run: images by digest, from our registry, in versions without known holes."""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from packaging.version import InvalidVersion, Version

from llmaas_policies.model import MISSING, UNKNOWN, Parameters, Resource, Severity, Subject, Violation
from llmaas_policies.pods import Part, containers_of, names_in, pod_metadata, programs_of, volumes_of
from llmaas_policies.texts import configuration_texts

subject = Subject()

_DIGEST: Final = re.compile(r"[^@\s]+@sha256:[0-9a-f]{64}")
# 1.82.7 and 1.82.8 carried a credential stealer. Below 1.84.0 the Host header passes authentication
# (CVE-2026-49468), below 1.83.7 the key check takes SQL (CVE-2026-42208).
# CVE-2026-114053: before 0.31.0 vLLM takes code_revision through the unauthenticated /tokenize.
_FLOORS: Final = {"litellm": Version("1.84.0"), "vllm": Version("0.31.0")}
_VERSION_LABEL: Final = "app.kubernetes.io/version"
_INSTALLED: Final = re.compile(r"(?i)\b(litellm|vllm)(?:\[[\w,-]*\])?\s*(?:==|@|=)\s*v?(\d[\w.+!-]*)")


def _images(resource: Resource) -> Iterator[tuple[str, str] | Violation]:
    """The images of containers and of volumes, with their paths."""
    found: list[tuple[str, object] | Violation] = [
        each if isinstance(each, Violation) else (f"{each.path}.image", each.get("image"))
        for each in containers_of(resource)
    ]
    for volume in volumes_of(resource):
        if isinstance(volume, Violation):
            found.append(volume)
        elif volume.get("image") is not MISSING:
            found.append((f"{volume.path}.image.reference", volume.get("image.reference")))
    for each in found:
        if isinstance(each, Violation):
            yield each
        elif isinstance(each[1], str) and each[1]:
            yield each[0], each[1]
        else:
            yield Violation(each[0], "is not known at preview" if each[1] is UNKNOWN else "is missing")


@subject.rule(
    "image-by-digest", "Every container's image is named by its SHA-256 digest.", Severity.HIGH,
    ("SecNumCloud 3.2 12.10.a", "CIS Kubernetes 5.5.1"), "Take the reference from the lock: llmaas images lock",
)  # fmt: skip
def image_by_digest(resource: Resource, _: Parameters) -> Iterator[Violation]:
    """A tag may be moved; a digest may not."""
    for found in _images(resource):
        if isinstance(found, Violation):
            yield found
        elif not _DIGEST.fullmatch(found[1]):
            yield Violation(found[0], f"{found[1]!r} is not named by a digest")


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
            yield Violation(found[0], f"{found[1]!r} is not from {parameters.registry}")


def _declared_versions(resource: Resource, image: str) -> list[object]:
    """The tag beside the digest and the pod's version label, where they stand."""
    tag = re.search(r":([^:/@]+)(?:@|$)", image)
    found: list[object] = [tag.group(1)] if tag else []
    path, metadata = pod_metadata(resource)
    labels = metadata.get("labels") if isinstance(metadata, Mapping) else None
    if path and isinstance(labels, Mapping) and _VERSION_LABEL in labels:
        found.append(labels[_VERSION_LABEL])
    return found


def _judgement(program: str, declared: object) -> str | None:
    """What is wrong with a version of a program."""
    try:
        version = Version(str(declared))
    except InvalidVersion:
        return f"{program} without a version that can be judged: {declared!r}"
    if version.epoch or version < _FLOORS[program]:
        return f"{program} {version} has known holes; at least {_FLOORS[program]} is needed"
    return None


def _version_of_container(resource: Resource, container: Part) -> Iterator[Violation]:
    path, image = f"{container.path}.image", container.get("image")
    for program in sorted(programs_of(container)):
        if not isinstance(image, str):
            yield Violation(path, f"is {'not known at preview' if image is UNKNOWN else 'missing'}; it runs {program}")
            continue
        if program not in names_in(image):
            yield Violation(path, f"runs {program} from an image that is not named after it: what version is it?")
            continue
        declared = _declared_versions(resource, image)
        wrong = [_judgement(program, version) for version in declared] or [f"{program} without a version"]
        yield from (Violation(path, text) for text in wrong if text)


@subject.rule(
    "version-without-known-holes", "LiteLLM and vLLM run in versions without known severe holes.", Severity.CRITICAL,
    ("SecNumCloud 3.2 12.11.a",), "Build a newer version: LiteLLM from 1.84.0 (never 1.82.7/8), vLLM from 0.31.0",
)  # fmt: skip
def version_without_known_holes(resource: Resource, _: Parameters) -> Iterator[Violation]:
    """The version stands as a tag beside the digest or as the pod's label app.kubernetes.io/version; both must do."""
    for container in containers_of(resource):
        if isinstance(container, Violation):
            yield container
        elif container.get("image") is UNKNOWN and not programs_of(container):
            yield Violation(f"{container.path}.image", "is not known at preview, so neither is its version")
        else:
            yield from _version_of_container(resource, container)
    texts = [found for found in configuration_texts(resource) if not isinstance(found, Violation)]
    for path, text in texts:
        for match in _INSTALLED.finditer(text):
            program = match.group(1).lower()
            wrong = _judgement(program, match.group(2))
            if wrong:
                yield Violation(path, f"installs {program} at its start: {wrong}")
