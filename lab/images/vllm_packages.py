"""The packages of the vLLM image: ``python -m lab.images.vllm_packages`` fills ``$LLMAAS_PART``."""

import shutil
from pathlib import Path
from typing import Final

from lab.errors import LabError
from lab.images.cuda_stand_in import replace_gpu_code
from lab.images.python import compile_bytecode, image_python, run
from lab.images.site_packages import SITE_PACKAGES, drop_unread, install, part_folder, strip_symbols
from llmaas.paths import PROJECT_ROOT

LOCK: Final = PROJECT_ROOT / "images/vllm/requirements.lock"
_COMPILERS: Final = ("torch/bin/protoc", "torch/bin/protoc-3.13.0.0", "torch/include", "torch/share")
# Hundreds of model families of which a server reads one: compiled when it is read.
_SELDOM_READ: Final = ("transformers/models", "vllm/model_executor/models")
# vLLM's own cache, in the image: without compilation it writes nothing else there.
CACHE: Final = "opt/vllm-cache"
# Of the lab's models (lab/models); vLLM itself looks at the class of any other when it starts.
_ARCHITECTURES: Final = ("LlamaForCausalLM",)


def main() -> None:
    """Install, take out what a CPU server never uses, and prove that what is left can be imported."""
    folder = part_folder() / SITE_PACKAGES
    install(LOCK, folder)
    replace_gpu_code(folder)
    for name in _COMPILERS:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    drop_unread(folder)
    strip_symbols(folder)
    compile_bytecode(folder, SITE_PACKAGES, _SELDOM_READ)
    _prove(folder)
    _describe_models(folder, part_folder() / CACHE)


def _prove(folder: Path) -> None:
    """PyTorch and the kernels that vLLM chooses for this processor must compute: here, not only at the first start."""
    script = (
        "import torch\n"
        "from vllm.platforms import current_platform\n"
        "a = torch.ones(8, 8, dtype=torch.bfloat16)\n"
        "assert (a @ a).sum() == 512\n"
        # says by a warning alone that none could be loaded; the kernel is then missing below
        "current_platform.import_kernels()\n"
        "gates, made = torch.full((2, 64), 2.0), torch.empty(2, 32)\n"
        "torch.ops._C.silu_and_mul(made, gates)\n"
        "assert torch.allclose(made, torch.nn.functional.silu(gates[:, :32]) * 2), made\n"
    )
    run([image_python(), "-s", "-c", script], _environment(folder))


def _environment(folder: Path) -> dict[str, str]:
    return {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "VLLM_TARGET_DEVICE": "cpu"}


def _describe_models(folder: Path, cache: Path) -> None:
    """Keep what vLLM finds out about a model's class at each start, importing itself anew (10 s of CPU time)."""
    script = (
        "import sys\n"
        "from vllm.model_executor.models.registry import ModelRegistry\n"
        "for name in sys.argv[1:]: ModelRegistry.models[name].inspect_model_cls()\n"
    )
    run([image_python(), "-s", "-c", script, *_ARCHITECTURES], _environment(folder) | {"VLLM_CACHE_ROOT": str(cache)})
    found = list(cache.glob("modelinfos/*.json"))
    if len(found) != len(_ARCHITECTURES):
        raise LabError(f"vLLM described {len(found)} of {len(_ARCHITECTURES)} model classes in {cache}/modelinfos")
    for path in found:
        path.chmod(0o644)


if __name__ == "__main__":
    main()
