"""Which programs the toolchain has and where their versions are pinned.

The version of every tool stands once, in the ``go.mod`` of its folder; this table says only which required module
carries it and how the program is told its own version.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

TOOLCHAIN_ROOT: Final = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Module:
    """One Go module of the toolchain: a folder with ``go.mod`` and ``go.sum``, and the programs built from it.

    ``programs`` maps the name of a program to its Go package. ``version_command`` is what makes an installed program
    print its version; ``version_variables`` are Go variables that the linker sets, with ``{version}``, ``{major}``
    and ``{minor}`` filled in.
    """

    name: str
    pinned_module: str
    programs: Mapping[str, str]
    version_command: Mapping[str, tuple[str, ...]]
    version_variables: Mapping[str, str]

    @property
    def folder(self) -> Path:
        """Where its ``go.mod`` lies."""
        return TOOLCHAIN_ROOT / self.name

    @property
    def version(self) -> str:
        """The pinned version without the leading ``v``, read from ``go.mod``.

        Raises:
            ValueError: ``go.mod`` does not require the module, or not at one exact version.
        """
        go_mod = self.folder / "go.mod"
        pattern = rf"^(?:require)?\s*{re.escape(self.pinned_module)} v(\d+\.\d+\.\d+)\b"
        match = re.search(pattern, go_mod.read_text(), re.MULTILINE)
        if match is None:
            raise ValueError(f"{go_mod}: requires no exact version of {self.pinned_module}; add it with 'go get'")
        return match.group(1)

    @property
    def linker_flags(self) -> str:
        """The ``-ldflags`` of every program: no symbol tables, and the version where Go modules do not carry it."""
        major, minor, _ = self.version.split(".")
        facts = {"version": self.version, "major": major, "minor": minor}
        settings = [f"-X {name}={value.format(**facts)}" for name, value in self.version_variables.items()]
        return " ".join(["-s", "-w", *settings])


def _kubernetes() -> Module:
    daemons = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet")
    package = "k8s.io/component-base/version"
    return Module(
        name="kubernetes",
        pinned_module="k8s.io/kubernetes",
        programs={name: f"k8s.io/kubernetes/cmd/{name}" for name in (*daemons, "kubeadm", "kubectl")},
        version_command={
            **dict.fromkeys(daemons, ("--version",)),
            "kubeadm": ("version", "-o", "short"),
            "kubectl": ("version", "--client"),
        },
        version_variables={
            f"{package}.gitVersion": "v{version}",
            f"{package}.gitMajor": "{major}",
            f"{package}.gitMinor": "{minor}",
            f"{package}.gitTreeState": "clean",
        },
    )


# In the order in which they are built: the longest first, so that a failure there shows at once.
MODULES: Final[tuple[Module, ...]] = (
    _kubernetes(),
    Module(
        name="pulumi",
        pinned_module="github.com/pulumi/pulumi/pkg/v3",
        programs={"pulumi": "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"},
        version_command={"pulumi": ("version",)},
        version_variables={"github.com/pulumi/pulumi/sdk/v3/go/common/version.Version": "{version}"},
    ),
    Module(
        name="etcd",
        pinned_module="go.etcd.io/etcd/server/v3",
        programs={"etcd": "go.etcd.io/etcd/server/v3", "etcdctl": "go.etcd.io/etcd/etcdctl/v3"},
        version_command={"etcd": ("--version",), "etcdctl": ("version",)},
        version_variables={},
    ),
    Module(
        name="coredns",
        pinned_module="github.com/coredns/coredns",
        programs={"coredns": "."},
        version_command={"coredns": ("-version",)},
        version_variables={},
    ),
)


def module_of(program: str) -> Module:
    """The module that carries a program.

    Raises:
        KeyError: no module of the toolchain builds such a program.
    """
    for module in MODULES:
        if program in module.programs:
            return module
    known = ", ".join(sorted(name for module in MODULES for name in module.programs))
    raise KeyError(f"the toolchain has no program {program!r}; it has {known}")
