"""Container images: built from Debian packages, the toolchain and locked Python packages, pushed, locked by digest."""

from lab.images.ensure import ensure_images
from lab.images.spec import ImageError, ImageSpec, load_image, load_images

__all__ = ["ImageError", "ImageSpec", "ensure_images", "load_image", "load_images"]
