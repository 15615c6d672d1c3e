"""Started by the engine as `pulumi-language-python [-root=DIR] ENGINE_ADDRESS`."""

import sys

import grpc
from pulumi.runtime.proto import language_pb2_grpc

from lab.standins.plugin_server import serve
from lab.standins.pulumi_language.host import LanguageHost


def main() -> None:
    """Serve the language host; the engine's address is the last argument, and comes again with the handshake."""
    positional = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    host = LanguageHost(engine_address=positional[-1] if positional else "")

    def register(server: grpc.Server) -> None:
        language_pb2_grpc.add_LanguageRuntimeServicer_to_server(host, server)

    serve(register, workers=16)


if __name__ == "__main__":
    main()
