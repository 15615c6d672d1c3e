"""GPUs of a host, and the set of versions that runs them."""

from collections.abc import Iterable
from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints

from llmaas.settings.types import Day, Name, Section, Share

MigProfile = Annotated[str, StringConstraints(pattern=r"^[1-7]g\.[1-9][0-9]{0,2}gb$")]
SetName = Annotated[str, StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}(-[a-z0-9]+)?$")]
Numbers = Annotated[str, StringConstraints(pattern=r"^[0-9]+(\.[0-9]+)+$")]
PackageVersion = Annotated[str, StringConstraints(pattern=r"^([0-9]+:)?[0-9][A-Za-z0-9.+~]*-[A-Za-z0-9.+~]+$")]
PackageName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.+-]+$")]
# repository and tag, without the registry: vllm/vllm-openai:v0.32.0
TaggedImage = Annotated[
    str,
    StringConstraints(
        pattern=r"^[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*:[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$"
    ),
]
PciId = Annotated[str, StringConstraints(pattern=r"^10de:[0-9a-f]{4}$")]

DEVICE_PLUGIN: Final = "nvidia-device-plugin"
DCGM_EXPORTER: Final = "dcgm-exporter"
# The model server. Ours of images/ is built for the CPU: hosts with real GPUs run the one that the set names.
VLLM: Final = "vllm"


class Mig(Section):
    """How every GPU of a host is divided; each part counts as one GPU."""

    profile: MigProfile = Field(description="the MIG profile of every part, such as 1g.10gb")
    instances: Annotated[int, Field(ge=1, le=7)] = Field(description="how many parts each GPU has, 1 to 7")


class Gpus(Section):
    """The GPUs of one host, all of one model. With ``mig``, ``count`` and ``memory_gib`` are those of the parts."""

    kind: Literal["simulated", "nvidia"] = Field(description="simulated (counted, no device) or nvidia")
    model: Name = Field(description="the GPU model as the throughput table names it, such as h100-80g")
    count: Annotated[int, Field(ge=1, le=64)] = Field(description="how many GPUs the host has, 1 to 64")
    memory_gib: Annotated[int, Field(ge=1, le=1024)] = Field(description="memory of one GPU in GiB, 1 to 1024")
    memory_share: Share = Field(
        default=0.90, description="the share of GPU memory that a model server may take, above 0 and up to 1"
    )
    nvswitch: bool = Field(default=False, description="true where NVSwitches join the GPUs, else false")
    mig: Mig | None = Field(default=None, description="a mapping with profile and instances, where GPUs are divided")

    @property
    def cards(self) -> int:
        """How many GPUs stand on the bus."""
        return self.count // self.mig.instances if self.mig else self.count


class GpuRuntime(Section):
    """What runs the GPUs."""

    set: SetName = Field(description="the name of a set of stacks/gpu-runtime.yaml, such as 2026-11")


class RuntimePackages(Section):
    """Debian packages with their versions."""

    driver: dict[PackageName, PackageVersion] = Field(min_length=1, description="packages of the driver")
    toolkit: dict[PackageName, PackageVersion] = Field(min_length=1, description="packages of the container toolkit")
    fabric_manager: dict[PackageName, PackageVersion] = Field(
        min_length=1, description="packages for machines with NVSwitches"
    )


class RuntimeSet(Section):
    """Versions that were chosen together on one day."""

    date: Day = Field(description="the day on which the set was made")
    driver: Numbers = Field(description="the driver's version, such as 580.126.20")
    cuda: Numbers = Field(description="the newest CUDA that the driver runs, such as 13.0")
    image_cuda: Numbers = Field(description="the CUDA that the model server's image was built with")
    least_driver: dict[str, Numbers] = Field(min_length=1, description="the oldest driver of each part")
    packages: RuntimePackages = Field(description="a mapping with driver, toolkit and fabric_manager")
    images: dict[Literal["nvidia-device-plugin", "dcgm-exporter", "vllm"], TaggedImage] = Field(
        min_length=3,
        description="repository:tag, in the site's registry, of nvidia-device-plugin, dcgm-exporter and vllm",
    )


class Device(Section):
    """How a GPU of one model shows itself."""

    pci_ids: tuple[PciId, ...] = Field(min_length=1, description="its PCI ids, such as 10de:2330")
    names: tuple[str, ...] = Field(min_length=1, description="its names as nvidia-smi tells them")
    memory_mib: Annotated[int, Field(ge=1024)] = Field(description="the memory that nvidia-smi reports, in MiB")


class RuntimeFile(Section):
    """stacks/gpu-runtime.yaml."""

    sets: dict[SetName, RuntimeSet] = Field(min_length=1, description="sets by their names")
    devices: dict[Name, Device] = Field(min_length=1, description="GPUs by the names that stack files use")


def counted(every: Iterable[Gpus | None]) -> str:
    """How many GPUs there are, in words that keep simulated ones apart: ``96 GPUs``, ``48 simulated GPUs``."""
    found = [gpus for gpus in every if gpus is not None]
    return in_words(sum(g.count for g in found), sum(g.count for g in found if g.kind == "simulated"))


def in_words(total: int, simulated: int) -> str:
    """``total`` GPUs, of which ``simulated`` are only counted."""
    if simulated and simulated < total:
        return f"{total - simulated} GPUs and {simulated} simulated ones"
    return f"{total} simulated GPUs" if simulated else f"{total} GPUs"
