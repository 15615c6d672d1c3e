"""The engine's log, as the provider uses it: warnings that stay, progress that passes."""

import contextlib
import threading

import grpc
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc


class EngineLog:
    """Writes to the log of the engine at `address`; without an address it stays silent."""

    def __init__(self, address: str) -> None:
        """Prepare the connection; nothing is sent yet."""
        self._lock = threading.Lock()
        self._stub: engine_pb2_grpc.EngineStub | None = None
        if address:
            self.connect(address)

    def connect(self, address: str) -> None:
        """Write to the engine at this address from now on."""
        with self._lock:
            self._stub = engine_pb2_grpc.EngineStub(grpc.insecure_channel(address))

    def warning(self, urn: str, text: str) -> None:
        """Show a warning that stays in the summary."""
        self._send(engine_pb2.WARNING, urn, text, passing=False)

    def progress(self, urn: str, text: str) -> None:
        """Show what is waited for, beside the resource."""
        self._send(engine_pb2.INFO, urn, text, passing=True)

    def _send(self, severity: "engine_pb2.LogSeverity.ValueType", urn: str, text: str, *, passing: bool) -> None:
        with self._lock:
            stub = self._stub
        if stub is None or not text:
            return
        request = engine_pb2.LogRequest(severity=severity, urn=urn, message=text, ephemeral=passing)
        # An engine that is just ending takes no more messages; that must not fail the operation.
        with contextlib.suppress(grpc.RpcError):
            stub.Log(request, timeout=5)
