"""The lab's toolchain: Kubernetes, etcd, CoreDNS and the Pulumi engine, built from pinned Go modules."""

from lab.toolchain.build import (
    ToolchainError,
    built_program,
    ensure_toolchain,
    official_program,
    tool_env,
    tool_folders,
    tool_path,
)

__all__ = [
    "ToolchainError",
    "built_program",
    "ensure_toolchain",
    "official_program",
    "tool_env",
    "tool_folders",
    "tool_path",
]
