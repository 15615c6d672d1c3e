"""Builds images with buildah, in a storage of its own under the cache, and pushes them."""

import json
import subprocess
import time
from pathlib import Path
from typing import Final

from lab.images.parts import Report, ensure_part
from lab.images.registry import Registry
from lab.images.spec import ImageError, ImageSpec
from llmaas.paths import cache_dir

KEY_LABEL: Final = "llmaas.inputs"
# Every image has the same date: what is equal must have the same digest.
_TIMESTAMP: Final = "0"
# Nothing is pulled, so nothing has to be trusted; what is not built here is refused.
_POLICY: Final = json.dumps(
    {
        "default": [{"type": "reject"}],
        "transports": {"containers-storage": {"": [{"type": "insecureAcceptAnything"}]}},
    }
)


def _buildah(log: Path, *arguments: str) -> None:
    root = cache_dir() / "containers"
    root.mkdir(parents=True, exist_ok=True)
    command = [
        "buildah",
        *("--root", str(root / "storage"), "--runroot", str(root / "run"), "--storage-driver", "overlay"),
        *arguments,
    ]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as output:
        result = subprocess.run(command, check=False, stdout=output, stderr=subprocess.STDOUT)
    if result.returncode != 0:
        raise ImageError(f"buildah {arguments[0]} ended with {result.returncode}", log=log)


def _policy() -> Path:
    path = cache_dir() / "containers" / "policy.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_POLICY)
    return path


def build(image: ImageSpec, key: str, report: Report) -> str:
    """Build an image from its parts; returns its name in the local storage.

    Raises:
        ImageError: a part or the Containerfile failed; the error names the log.
    """
    parts = {name: ensure_part(name, part, report) for name, part in image.parts.items()}
    log = cache_dir() / "logs" / f"image-{image.name}.log"
    log.unlink(missing_ok=True)
    local = f"localhost/{image.path}:{key}"
    started = time.monotonic()
    contexts = [f"--build-context={name}={folder}" for name, folder in parts.items()]
    _buildah(
        log,
        "build",
        *("--isolation", "chroot", "--layers", "--timestamp", _TIMESTAMP, "--identity-label=false"),
        *("--signature-policy", str(_policy()), "--label", f"{KEY_LABEL}={key}"),
        *("--file", str(image.folder / "Containerfile"), "--tag", local),
        *contexts,
        str(image.folder),
    )
    report(f"{image.name}: built in {time.monotonic() - started:.0f} s")
    return local


def push(image: ImageSpec, local: str, registry: Registry, report: Report) -> None:
    """Push a built image under its tag."""
    log = cache_dir() / "logs" / f"image-{image.name}.log"
    started = time.monotonic()
    _buildah(
        log,
        "push",
        *("--signature-policy", str(_policy()), "--format", "oci", *registry.push_options()),
        *("--disable-compression=false", "--compression-format", "zstd", "--compression-level", "3"),
        local,
        f"docker://{registry.address}/{image.path}:{image.tag}",
    )
    report(f"{image.name}: pushed in {time.monotonic() - started:.0f} s")
