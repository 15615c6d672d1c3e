"""The program that divides GPUs at every start, against a stand-in for nvidia-smi that keeps what it is told."""

import runpy
from typing import Any

import pytest

from llmaas.paths import PROJECT_ROOT

PROGRAM = PROJECT_ROOT / "ansible" / "roles" / "gpu_runtime" / "files" / "divide_gpus.py"


class Smi:
    """``nvidia-smi`` of two GPUs."""

    def __init__(self, **parts: list[str]) -> None:
        self.parts = {"0": parts.get("first", []), "1": parts.get("second", [])}
        self.calls: list[tuple[str, ...]] = []

    def __call__(self, *arguments: str) -> str:
        if arguments == ("-L",):
            return "".join(
                f"GPU {gpu}: NVIDIA H100 80GB HBM3 (UUID: GPU-{gpu})\n"
                + "".join(f"  MIG {name}     Device  {n}: (UUID: MIG-{n})\n" for n, name in enumerate(found))
                for gpu, found in self.parts.items()
            )
        self.calls.append(arguments)
        if "-cgi" in arguments:
            self.parts[arguments[2]] = arguments[4].split(",")
        return ""


@pytest.fixture
def program() -> dict[str, Any]:
    return runpy.run_path(str(PROGRAM))


def divide(program: dict[str, Any], smi: Smi) -> None:
    function = program["divide"]
    function.__globals__["nvidia_smi"] = smi
    function("3g.40gb", 2)


def test_whole_gpus_are_divided_and_divided_ones_left_alone(program: dict[str, Any]) -> None:
    smi = Smi(second=["3g.40gb", "3g.40gb"])
    divide(program, smi)
    assert smi.calls == [("-i", "0", "-mig", "1"), ("mig", "-i", "0", "-cgi", "3g.40gb,3g.40gb", "-C")]
    divide(program, smi)
    assert len(smi.calls) == 2


def test_a_gpu_that_is_divided_otherwise_is_refused(program: dict[str, Any]) -> None:
    smi = Smi(first=["1g.10gb"] * 7)
    with pytest.raises(program["DivisionError"], match=r"GPU 0 is divided into 1g.10gb.*2 x 3g.40gb are wanted"):
        divide(program, smi)
    assert smi.calls == []
