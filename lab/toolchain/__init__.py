"""The lab's toolchain: Kubernetes, etcd, CoreDNS and the Pulumi engine, built from pinned Go modules."""

from lab.toolchain.build import (
    built_program,
    ensure_toolchain,
    official_program,
    tool_env,
    tool_folders,
    tool_path,
)
from lab.toolchain.go import ToolchainError, go_build, go_environment
from lab.toolchain.plugins import plugin_path

__all__ = [
    "ToolchainError",
    "built_program",
    "ensure_toolchain",
    "go_build",
    "go_environment",
    "official_program",
    "plugin_path",
    "tool_env",
    "tool_folders",
    "tool_path",
]
