"""The packages of the vLLM image: ``python -m lab.images.vllm_packages`` fills ``$LLMAAS_PART``."""

import shutil
from pathlib import Path
from typing import Final

from lab.images.cuda_stand_in import replace_gpu_code
from lab.images.site_packages import (
    compile_bytecode,
    drop_unread,
    image_python,
    install,
    part_folder,
    run,
    strip_symbols,
)
from llmaas.paths import PROJECT_ROOT

LOCK: Final = PROJECT_ROOT / "images/vllm/requirements.lock"
_COMPILERS: Final = ("torch/bin/protoc", "torch/bin/protoc-3.13.0.0", "torch/include", "torch/share")
# Hundreds of model families of which a server reads one: compiled when it is read.
_SELDOM_READ: Final = ("transformers/models", "vllm/model_executor/models", "torch/testing")


def main() -> None:
    """Install, take out what a CPU server never uses, and prove that what is left can be imported."""
    folder = part_folder() / "opt/site-packages"
    install(LOCK, folder)
    replace_gpu_code(folder)
    for name in _COMPILERS:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    drop_unread(folder)
    strip_symbols(folder)
    compile_bytecode(folder, _SELDOM_READ)
    _prove(folder)


def _prove(folder: Path) -> None:
    """PyTorch must compute and vLLM's kernels must load, here and not only at the first start."""
    script = "import torch; a = torch.ones(8, 8, dtype=torch.bfloat16); assert (a @ a).sum() == 512; import vllm._C"
    environment = {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "VLLM_TARGET_DEVICE": "cpu"}
    run([image_python(), "-s", "-c", script], environment)


if __name__ == "__main__":
    main()
