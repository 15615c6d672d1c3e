"""Brings the registry and the lock to what ``images/`` describes; does nothing for an image that is there."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import yaml

from lab.images.builder import KEY_LABEL, build, push
from lab.images.parts import Report, image_key
from lab.images.registry import Registry
from lab.images.spec import ImageError, ImageSpec, load_images
from llmaas.files import write_atomically
from llmaas.paths import stack_file

# images that others build, by their short names: repository and tag
Mirrored = Mapping[str, tuple[str, str]]
_LOCK_HEADER: Final = (
    "# Written by `llmaas images lock`: which image each short name is. Deployments go by these digests.\n"
)


def lock_path(environment: str, file_name: str | None = None) -> Path:
    """The lock of an environment, beside its stack file."""
    return stack_file(environment).parent / (file_name or f"images.{environment}.lock.yaml")


def select(names: Sequence[str], mirrored: Mirrored | None = None) -> tuple[ImageSpec, ...]:
    """The images of these names, or all of them that are built for an environment with these ``mirrored`` ones.

    Raises:
        ImageError: there is no such image, or one is not built for it.
    """
    foreign = mirrored or {}
    images = tuple(image for image in load_images() if image.name not in foreign)
    for name in names:
        if name in foreign:
            path, tag = foreign[name]
            raise ImageError(
                f"{name} is not built for this environment: its GPU set names {path}:{tag}, which others build",
                remedy="mirror that one into the registry, then run: llmaas images lock",
            )
    unknown = sorted(set(names) - {image.name for image in images})
    if unknown:
        known = ", ".join(image.name for image in images)
        raise ImageError(f"no image {', '.join(unknown)}", remedy=f"name one of: {known}")
    return tuple(image for image in images if not names or image.name in names)


def ensure_images(
    registry: Registry,
    lock: Path,
    names: Sequence[str] = (),
    report: Report = print,
    mirrored: Mirrored | None = None,
) -> Mapping[str, str]:
    """Build and push what the registry does not hold with the same inputs, then write the lock.

    What is ``mirrored`` is neither built nor pushed, whatever stands in the registry under its name.

    Returns the lock: short name to reference by digest.

    Raises:
        ImageError: an image cannot be built or pushed, or one that is mirrored was built here. What was pushed before
            stays, and is not built again.
    """
    for image in select(names, mirrored):
        key = image_key(image)
        pushed = registry.find(image.path, image.tag)
        if pushed is not None and pushed.labels.get(KEY_LABEL) == key:
            report(f"{image.name}: in the registry")
            continue
        push(image, build(image, key, report), registry, report)
    return write_lock(registry, lock, report, mirrored)


def write_lock(
    registry: Registry,
    lock: Path,
    report: Report = print,
    mirrored: Mirrored | None = None,
) -> Mapping[str, str]:
    """Write the lock from what the registry holds; images that it lacks are reported and left out.

    Raises:
        ImageError: under the name of an image that others build lies one that was built here.
    """
    references: dict[str, str] = {}
    foreign = dict(mirrored or {})
    wanted = {image.name: (image.path, image.tag) for image in load_images()} | foreign
    for name, (path, tag) in wanted.items():
        pushed = registry.find(path, tag)
        if pushed is None:
            report(f"{name}: {path}:{tag} is not in the registry, so not in the lock")
        elif name in foreign and KEY_LABEL in pushed.labels:
            raise ImageError(
                f"{name}: {path}:{tag} was built by `llmaas images build`, for hosts without GPUs (label {KEY_LABEL}); "
                "the lock is as it was",
                remedy="push the image that the GPU set means over it, then run: llmaas images lock",
            )
        else:
            references[name] = registry.reference(path, tag, pushed.digest)
    text = _LOCK_HEADER + yaml.safe_dump(references, sort_keys=True, width=200)
    if not lock.exists() or lock.read_text() != text:
        write_atomically(lock, text)
    return references
