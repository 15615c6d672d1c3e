"""Started by the engine as `pulumi-resource-kubernetes [ENGINE_ADDRESS]`."""

import sys

import grpc
from pulumi.runtime.proto import provider_pb2_grpc

from lab.standins.kubernetes_provider.engine import EngineLog
from lab.standins.kubernetes_provider.service import KubernetesProvider
from lab.standins.plugin_server import serve

_WORKERS = 128
"""Each resource that is awaited holds one."""


def main() -> None:
    """Serve the provider; the engine's address is the last argument, and comes again with the handshake."""
    positional = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    provider = KubernetesProvider(EngineLog(positional[-1] if positional else ""))

    def register(server: grpc.Server) -> None:
        provider_pb2_grpc.add_ResourceProviderServicer_to_server(provider, server)

    serve(register, workers=_WORKERS)


if __name__ == "__main__":
    main()
