"""Reads ``stacks/gpu-runtime.yaml`` and refuses a set whose parts do not belong together."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from pydantic import ValidationError

from llmaas.paths import stack_file
from llmaas.settings.errors import Problem, SettingsError
from llmaas.settings.gpus import Device, RuntimeFile, RuntimeSet
from llmaas.settings.platform import Platform


def needs_runtime(platform: Platform) -> bool:
    """Whether any host has real GPUs."""
    return any(host.gpus is not None and host.gpus.kind == "nvidia" for host in platform.hosts)


def runtime_set(platform: Platform) -> RuntimeSet | None:
    """The set that the stack file names; None where no host has real GPUs.

    Raises:
        SettingsError: no set, an unknown one, one whose parts do not fit each other, or a GPU that the file lacks.
    """
    if not needs_runtime(platform):
        return None
    content, problems = _read(platform), []
    name = platform.gpu_runtime.set if platform.gpu_runtime else ""
    chosen = content.sets.get(name)
    if chosen is None:
        known = ", ".join(sorted(content.sets))
        problems.append(Problem("llmaas:gpu_runtime.set", f"{name!r} is no set of {_source(platform)}; give {known}"))
    for index, host in enumerate(platform.hosts):
        if host.gpus is not None and host.gpus.kind == "nvidia" and host.gpus.model not in content.devices:
            text = f"{host.gpus.model!r} is no device of {_source(platform)}; known are {', '.join(content.devices)}"
            problems.append(Problem(f"llmaas:hosts[{index}].gpus.model", text))
    if chosen is not None:
        problems.extend(Problem(f"sets.{name}.{path}", text) for path, text in mixtures(chosen))
    if problems or chosen is None:
        raise SettingsError(_source(platform), problems)
    return chosen


def device(platform: Platform, model: str) -> Device:
    """How a GPU of that model shows itself; ``runtime_set`` has refused a model that is not there."""
    return _read(platform).devices[model]


def mixtures(chosen: RuntimeSet) -> Iterator[tuple[str, str]]:
    """What in a set does not belong to the rest of it: path inside the set, and what is wrong."""
    packages = chosen.packages
    for group in ("driver", "fabric_manager"):
        for name, version in getattr(packages, group).items():
            if upstream(version) != chosen.driver:
                yield f"packages.{group}.{name}", f"is {version}, but the driver is {chosen.driver}; they must be equal"
    versions = sorted(set(packages.toolkit.values()))
    if len(versions) > 1:
        yield "packages.toolkit", f"mixes {', '.join(versions)}; all its packages have one version"
    for part, least in chosen.least_driver.items():
        if numbers(chosen.driver) < numbers(least):
            yield "driver", f"is {chosen.driver}, and {part} needs {least} or newer"
    if numbers(chosen.image_cuda) > numbers(chosen.cuda):
        yield "image_cuda", f"is {chosen.image_cuda}, newer than the CUDA {chosen.cuda} that the driver runs"


def foreign_images(chosen: RuntimeSet, images: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Images of a lock that are missing or not of the set: short name, and what is wrong."""
    for name, image in chosen.images.items():
        reference = images.get(name)
        if reference is None:
            yield name, f"is missing; mirror it to {image} of the registry, then run: llmaas images lock"
        elif reference.partition("@")[0].partition("/")[2] != image:
            remedy = "mirror that one, then run: llmaas images lock; or name another set"
            yield name, f"is {reference}, but the set has {image}; {remedy}"


def mirrored_images(platform: Platform) -> dict[str, tuple[str, str]]:
    """Images of the set that are mirrored and not built: short name to repository and tag; none without real GPUs."""
    chosen = runtime_set(platform)
    if chosen is None:
        return {}
    parts = {name: image.rpartition(":") for name, image in chosen.images.items()}
    return {name: (repository, tag) for name, (repository, _, tag) in parts.items()}


def upstream(version: str) -> str:
    """The upstream part of a Debian version: without epoch and without revision."""
    return version.partition(":")[2].rpartition("-")[0] if ":" in version else version.rpartition("-")[0]


def numbers(version: str) -> tuple[int, ...]:
    """A version as numbers that compare."""
    return tuple(int(part) for part in version.split("."))


def _source(platform: Platform) -> str:
    return f"stacks/{stack_file(platform.environment).with_name('gpu-runtime.yaml').name}"


def _read(platform: Platform) -> RuntimeFile:
    path = stack_file(platform.environment).with_name("gpu-runtime.yaml")
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        return RuntimeFile.model_validate_json(json.dumps(content, default=str))
    except (OSError, yaml.YAMLError) as error:
        raise SettingsError(_source(platform), [Problem("sets", f"cannot be read ({error})")]) from error
    except ValidationError as error:
        found = [Problem(".".join(map(str, each["loc"])), each["msg"]) for each in error.errors()]
        raise SettingsError(_source(platform), found) from error
