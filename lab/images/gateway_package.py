"""The gateway's own package for the LiteLLM image: ``python -m lab.images.gateway_package`` fills ``$LLMAAS_PART``."""

import shutil
from typing import Final

from lab.images.python import compile_bytecode
from lab.images.site_packages import part_folder
from llmaas.paths import PROJECT_ROOT

SOURCE: Final = PROJECT_ROOT / "gateway/llmaas_gateway"
# First on the image's PYTHONPATH.
TARGET: Final = "opt/llmaas"


def main() -> None:
    """Copy the package and compile it, since the container's file system is read-only."""
    folder = part_folder() / TARGET
    shutil.copytree(SOURCE, folder / SOURCE.name, ignore=shutil.ignore_patterns("__pycache__"))
    compile_bytecode(folder, TARGET)


if __name__ == "__main__":
    main()
