"""Errors of the provider: each says which resource, and what the API server answered."""

from collections.abc import Mapping, Sequence
from typing import Any


class ProviderError(Exception):
    """A failure that the engine shows to the user as it is."""


class ClusterUnreachableError(ProviderError):
    """The API server did not answer at all."""


class UnknownKindError(ProviderError):
    """The cluster serves no such kind; at preview its definition may still have to be created."""


class ApiError(ProviderError):
    """The API server answered with an error status."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        """Keep the HTTP status and the Status object's reason beside its message."""
        super().__init__(message)
        self.status = status
        self.reason = reason


class CancelledError(ProviderError):
    """The user stopped the operation while it was awaited."""


class NotReadyError(ProviderError):
    """The object exists but did not become ready."""

    def __init__(self, message: str, reasons: Sequence[str]) -> None:
        """Keep the reasons apart: the engine lists them one by one."""
        super().__init__(message)
        self.reasons = tuple(reasons)


class InitializationFailedError(ProviderError):
    """The object was written, so the engine must keep it in its state, but it did not become ready."""

    def __init__(
        self, identifier: str, outputs: Mapping[str, Any], inputs: Mapping[str, Any], cause: NotReadyError
    ) -> None:
        """Carry what the engine stores: identifier, outputs and inputs."""
        super().__init__(str(cause))
        self.identifier = identifier
        self.outputs = outputs
        self.inputs = inputs
        self.reasons = cause.reasons
