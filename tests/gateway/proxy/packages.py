"""LiteLLM exactly as the image carries it: the image's own part, built once for its lock and kept in the cache."""

from pathlib import Path

from lab.images.parts import ensure_part
from lab.images.spec import IMAGES_ROOT, load_image


def litellm_part() -> Path:
    """The folder with ``opt/site-packages`` and ``opt/prisma-engine``."""
    return ensure_part("packages", load_image(IMAGES_ROOT / "litellm").parts["packages"], print)
