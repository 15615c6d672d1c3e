"""What a preview without a cluster uses in place of secrets and certificates, none of which it reads or makes.

Every placeholder carries a mark, which may be found nowhere but in Secrets; it never leaves the process.
"""

from collections.abc import Mapping
from typing import Any, Final

import yaml

from llmaas.materials import (
    LeafFiles,
    MaterialError,
    Materials,
    lock_file,
    price_book_file,
    read_lock,
    read_tokenizers,
)
from llmaas.paths import PROJECT_ROOT
from llmaas.settings import Platform
from llmaas.settings.gpu_sets import mirrored_images
from llmaas.views.leaves import leaf_requests
from llmaas.views.litellm import TokenPrices

MARK: Final = "placeholder-of-a-secret"
# of images that others build, which nobody here has seen
_NO_DIGEST: Final = f"sha256:{'0' * 64}"
# digests of images as they were built from this tree; references without a registry
EXAMPLE_LOCK: Final = PROJECT_ROOT / "stacks" / "images.example.lock.yaml"


def placeholder_materials(
    platform: Platform, images: Mapping[str, str], prices: Mapping[str, TokenPrices]
) -> Materials:
    """Materials that differ from real ones in secrets and certificates, and lack tokenizers that nobody imported yet.

    Raises:
        MaterialError: a manifest of weights cannot be read.
    """
    leaves = {
        request.name: LeafFiles(request, f"certificate of {request.name}\n", f"{MARK}-key\n", "ca\n", "0" * 12)
        for request in leaf_requests(platform)
    }
    receiver = platform.alert_receiver
    return Materials(
        images=images,
        leaves=leaves,
        certificate_ends={},
        certificate_notice="",
        postgres_superuser=f"{MARK}-postgres-superuser",
        postgres_litellm=f"{MARK}-postgres-litellm",
        redis=f"{MARK}-redis",
        litellm_master_key=f"sk-{MARK}-litellm-master-key",
        litellm_salt_key=f"sk-{MARK}-litellm-salt-key",
        cache_salt=f"{MARK}-cache-salt",
        audit_key=f"{MARK}-audit-key",
        kubeconfig="/nonexistent/kubeconfig",
        version_key=f"{MARK}-version-key",
        prices=prices,
        price_book=price_book_file(platform.environment).read_text(encoding="utf-8"),
        tokenizers=read_tokenizers(platform, all_imported=False),
        receiver_authority="authority of the receiver\n" if receiver and receiver.authority else "",
    )


def images_of(platform: Platform) -> tuple[dict[str, str], str]:
    """The images of the environment's lock, or of the example lock where there is none yet; and which one it was.

    Raises:
        MaterialError: a lock that is there and wrong.
    """
    if lock_file(platform).exists():
        return read_lock(platform), f"stacks/{platform.images.lock}"
    content: Any = yaml.safe_load(EXAMPLE_LOCK.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise MaterialError(f"{EXAMPLE_LOCK} is no mapping of names to references; bring it back from version control")
    names = {str(name): str(reference) for name, reference in content.items()}
    names |= {name: f"{path}:{tag}@{_NO_DIGEST}" for name, (path, tag) in mirrored_images(platform).items()}
    references = {name: f"{platform.site.registry}/{reference}" for name, reference in names.items()}
    return references, f"stacks/{EXAMPLE_LOCK.name}, an example: stacks/{platform.images.lock} is not there yet"
