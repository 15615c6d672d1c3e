"""Makes PyTorch's CUDA build run without CUDA: an empty library in the place of three gigabytes of GPU code.

PyPI has no build of PyTorch for the CPU alone. Its CUDA build computes on the CPU with the same code, but its libraries
name GPU libraries that the loader then wants to find. None of their functions is called where there is no GPU. So
the GPU libraries are taken out, and one small library answers for them: it has every symbol that the kept libraries
ask for, and each function ends the process with its own name, so that a wrong guess is loud.

Two functions are called while ``import torch`` describes types: one returns the address of a variable, one sets up an
options object. Their stand-ins do no more than that. Type descriptions have their names, as exceptions and pybind11
compare them.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from lab.errors import LabError
from lab.images.python import run

_GPU_CODE: Final = ("libtorch_cuda.so", "libtorch_cuda_linalg.so", "libtorch_nvshmem.so")
# What PyTorch's own libraries are linked against; cudart and cupti stay, they are small and are really called.
_VENDOR_LIBRARIES: Final = ("libcudnn.so.9", "libcufile.so.0", "libnccl.so.2")
_VENDOR_PREFIXES: Final = ("cudnn", "cuFile", "nccl")
_KEPT: Final = ("libtorch_python.so", "libtorch_cpu.so", "libtorch.so", "libc10_cuda.so", "libc10.so", "libshm.so")
_C_LIBRARIES: Final = ("/lib/x86_64-linux-gnu/libc.so.6", "/usr/lib/x86_64-linux-gnu/libstdc++.so.6")
_VARIABLE_OF: Final = "_ZN4c10d15get_gil_checkerEv"
_OPTIONS_OF: Final = "_ZN4c10d16ProcessGroupNCCL7OptionsC1Eb"
_OPTIONS_NAME: Final = "N4c10d16ProcessGroupNCCL7OptionsE"
# As many entries as the largest of the virtual tables may have.
_TABLE_ENTRIES: Final = 62
_OWN_OBJECTS: Final = ("options_table", "options_type")
_NO_STACK: Final = '.section .note.GNU-stack,"",@progbits'


def replace_gpu_code(packages: Path) -> None:
    """Take the GPU libraries of PyTorch in ``packages`` out and put the stand-in there.

    Raises:
        LabError: the assembler or the linker is missing, or PyTorch is not as expected.
    """
    libraries = packages / "torch/lib"
    kept = [libraries / name for name in _KEPT]
    missing = [path.name for path in (*kept, libraries / _GPU_CODE[0]) if not path.is_file()]
    if missing:
        raise LabError(
            f"torch/lib has no {', '.join(missing)}",
            remedy="this PyTorch is built otherwise than the locked one; revise lab/images/cuda_stand_in.py",
        )
    wanted = _symbols(kept, "--undefined-only") - _symbols(kept, "--defined-only")
    gpu_symbols = _symbols([libraries / name for name in _GPU_CODE], "--defined-only")
    symbols = {name for name in wanted if name in gpu_symbols or name.startswith(_VENDOR_PREFIXES)}
    symbols -= _symbols([Path(path) for path in _C_LIBRARIES], "--defined-only")
    for name in _GPU_CODE:
        (libraries / name).unlink()
    _link(libraries, "libtorch_cuda.so", assembly(symbols), _C_LIBRARIES)
    for name in _VENDOR_LIBRARIES:
        _link(libraries, name, f"{_NO_STACK}\n", ())
    _keep_called_vendor_libraries(packages)


def _keep_called_vendor_libraries(packages: Path) -> None:
    for path in (packages / "nvidia").rglob("*"):
        if path.is_file() and not re.match(r"libcudart\.so|libcupti\.so", path.name):
            path.unlink()


def _symbols(paths: Iterable[Path], which: str) -> set[str]:
    lines = run(["nm", "--dynamic", which, "--format=posix", *map(str, paths)]).splitlines()
    # a weak reference may stay without an answer
    entries = [line.split() for line in lines if line and not line.endswith(":")]
    return {entry[0].partition("@")[0] for entry in entries if entry[1] not in {"w", "v"}}


def _link(folder: Path, name: str, text: str, against: Iterable[str]) -> None:
    source, compiled = folder / f"{name}.s", folder / f"{name}.o"
    source.write_text(text)
    run(["as", str(source), "-o", str(compiled)])
    run(["ld", "-shared", "-soname", name, "-o", str(folder / name), str(compiled), *against])
    source.unlink()
    compiled.unlink()


def assembly(symbols: Iterable[str]) -> str:
    """The stand-in's source for x86-64: a label for each symbol, and what it does when it is used."""
    code, data, texts = [".text"], ['.section .data.rel.ro,"aw"'], [".section .rodata"]
    for number, symbol in enumerate(sorted(symbols)):
        texts.append(f'name_{number}: .asciz "{symbol.removeprefix("_ZTI")}"')
        if symbol.startswith("_ZTI"):
            data += _object(symbol, [_class_description(f"name_{number}")])
        elif symbol.startswith("_ZTV"):
            data += _object(symbol, [".quad 0, 0", *[".quad refuse"] * _TABLE_ENTRIES])
        else:
            code += _function(symbol, number)
    data += _object("options_table", [".quad 0, options_type", *[".quad nothing"] * _TABLE_ENTRIES])
    data += _object("options_type", [_class_description("options_name")])
    texts += [
        f'options_name: .asciz "{_OPTIONS_NAME}"',
        'message: .asciz "%s was called, but this PyTorch is reduced to the CPU: lab/images/cuda_stand_in.py\\n"',
    ]
    code += [
        "nothing: ret",
        "refuse: pushq %rdi",
        "movq stderr@GOTPCREL(%rip), %rax",
        "movq (%rax), %rdi",
        "leaq message(%rip), %rsi",
        "popq %rdx",
        "andq $-16, %rsp",
        "xorl %eax, %eax",
        "call fprintf@PLT",
        "call abort@PLT",
    ]
    return "\n".join([*code, *data, *texts, ".bss", ".align 16", "variable: .zero 64", _NO_STACK, ""])


def _class_description(name: str) -> str:
    """A type without bases, as the C++ run-time library describes it: the virtual table and the name."""
    return f".quad _ZTVN10__cxxabiv117__class_type_infoE + 16, {name}"


def _object(symbol: str, content: list[str]) -> list[str]:
    visible = [] if symbol in _OWN_OBJECTS else [f".globl {symbol}"]
    return [*visible, f".type {symbol}, @object", ".balign 16", f"{symbol}:", *content]


def _function(symbol: str, number: int) -> list[str]:
    if symbol == _VARIABLE_OF:
        body = ["leaq variable(%rip), %rax", "ret"]
    elif symbol == _OPTIONS_OF:
        # the first argument is the object: its virtual table, and no reference yet
        body = ["leaq options_table+16(%rip), %rax", "movq %rax, (%rdi)", "movq $0, 8(%rdi)", "ret"]
    else:
        body = [f"leaq name_{number}(%rip), %rdi", "jmp refuse"]
    return [f".globl {symbol}", f".type {symbol}, @function", f"{symbol}:", *body]
