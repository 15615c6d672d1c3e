"""The language host's gRPC service."""

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import language_pb2, language_pb2_grpc, plugin_pb2

from lab.standins.pulumi_language import environment
from lab.standins.pulumi_language.execute import ALREADY_REPORTED

PROJECT_ROOT = Path(__file__).resolve().parents[3]
PULUMI_VERSION = "3.250.0"


class LanguageHost(language_pb2_grpc.LanguageRuntimeServicer):
    """Runs Python programs and policy packs for the engine at `engine_address`."""

    def __init__(self, engine_address: str) -> None:
        """Take the engine's address from the command line; the handshake may bring a newer one."""
        self._engine_address = engine_address
        self._children: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()

    def Handshake(
        self, request: language_pb2.LanguageHandshakeRequest, context: grpc.ServicerContext
    ) -> language_pb2.LanguageHandshakeResponse:
        """Take the engine's address."""
        del context
        self._engine_address = request.engine_address or self._engine_address
        return language_pb2.LanguageHandshakeResponse()

    def GetPluginInfo(self, request: empty_pb2.Empty, context: grpc.ServicerContext) -> plugin_pb2.PluginInfo:
        """Say the version of the interface that is spoken here."""
        del request, context
        return plugin_pb2.PluginInfo(version=PULUMI_VERSION)

    def About(self, request: language_pb2.AboutRequest, context: grpc.ServicerContext) -> language_pb2.AboutResponse:
        """Say which interpreter runs programs."""
        python = _interpreter_or_abort(request.info, context)
        command = [python, "-c", "import platform; print(platform.python_version())"]
        version = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
        return language_pb2.AboutResponse(executable=python, version=version)

    def RuntimeOptionsPrompts(
        self, request: language_pb2.RuntimeOptionsRequest, context: grpc.ServicerContext
    ) -> language_pb2.RuntimeOptionsResponse:
        """Ask the author of a new project nothing."""
        del request, context
        return language_pb2.RuntimeOptionsResponse()

    def GetRequiredPackages(
        self, request: language_pb2.GetRequiredPackagesRequest, context: grpc.ServicerContext
    ) -> language_pb2.GetRequiredPackagesResponse:
        """List the provider plugins that the installed SDK packages name."""
        del request, context
        return language_pb2.GetRequiredPackagesResponse(
            packages=[
                plugin_pb2.PackageDependency(
                    name=need.name, kind="resource", version=f"v{need.version}", server=need.server
                )
                for need in environment.required_plugins()
            ]
        )

    def GetRequiredPlugins(
        self, request: language_pb2.GetRequiredPluginsRequest, context: grpc.ServicerContext
    ) -> language_pb2.GetRequiredPluginsResponse:
        """List the same for engines that ask the older question."""
        del request, context
        return language_pb2.GetRequiredPluginsResponse(
            plugins=[
                plugin_pb2.PluginDependency(
                    name=need.name, kind="resource", version=f"v{need.version}", server=need.server
                )
                for need in environment.required_plugins()
            ]
        )

    def GetProgramDependencies(
        self, request: language_pb2.GetProgramDependenciesRequest, context: grpc.ServicerContext
    ) -> language_pb2.GetProgramDependenciesResponse:
        """List the packages of the program's environment."""
        python = _interpreter_or_abort(request.info, context)
        found = environment.dependencies(python, transitive=request.transitiveDependencies)
        return language_pb2.GetProgramDependenciesResponse(
            dependencies=[language_pb2.DependencyInfo(name=name, version=version) for name, version in found]
        )

    def InstallDependencies(
        self, request: language_pb2.InstallDependenciesRequest, context: grpc.ServicerContext
    ) -> Iterator[language_pb2.InstallDependenciesResponse]:
        """Install a `requirements.txt` beside the program; an environment made beforehand is used as it is."""
        python = _interpreter_or_abort(request.info, context)
        requirements = Path(request.info.program_directory or request.directory, "requirements.txt")
        if not requirements.exists():
            text = f"Python packages are those of {python}: there is no {requirements} to install.\n"
            yield language_pb2.InstallDependenciesResponse(stdout=text.encode())
            return
        command = [python, "-m", "pip", "install", "--requirement", str(requirements)]
        status = 0
        for name, chunk in self._streamed(command, str(requirements.parent), dict(os.environ)):
            if name == "stdout":
                yield language_pb2.InstallDependenciesResponse(stdout=chunk)
            elif name == "stderr":
                yield language_pb2.InstallDependenciesResponse(stderr=chunk)
            else:
                status = int(chunk)
        if status != 0:
            context.abort(grpc.StatusCode.INTERNAL, f"pip install of {requirements} ended with status {status}")

    def Run(self, request: language_pb2.RunRequest, context: grpc.ServicerContext) -> language_pb2.RunResponse:
        """Run the program to its end; what it prints goes to our own output, which the engine shows."""
        python = _interpreter_or_abort(request.info, context)
        command = [python, "-u", "-m", "lab.standins.pulumi_language.execute", self._run_arguments(request)]
        variables = _variables(python) | {
            "PULUMI_CONFIG": json.dumps(dict(request.config)),
            "PULUMI_CONFIG_SECRET_KEYS": json.dumps(list(request.configSecretKeys)),
        }
        status = self._wait(subprocess.Popen(command, cwd=request.pwd or None, env=variables), context)
        if status == 0:
            return language_pb2.RunResponse()
        if status == ALREADY_REPORTED:
            return language_pb2.RunResponse(bail=True)
        return language_pb2.RunResponse(error=f"Program exited with status {status}")

    def RunPlugin(
        self, request: language_pb2.RunPluginRequest, context: grpc.ServicerContext
    ) -> Iterator[language_pb2.RunPluginResponse]:
        """Run a policy pack or a provider written in Python, and stream what it prints."""
        python = _interpreter_or_abort(request.info, context)
        variables = _variables(python) | dict(entry.split("=", 1) for entry in request.env)
        command = [python, "-u", request.info.program_directory, *request.args]
        for name, chunk in self._streamed(command, request.pwd, variables):
            if name == "stdout":
                yield language_pb2.RunPluginResponse(stdout=chunk)
            elif name == "stderr":
                yield language_pb2.RunPluginResponse(stderr=chunk)
            else:
                yield language_pb2.RunPluginResponse(exitcode=int(chunk))

    def Cancel(self, request: empty_pb2.Empty, context: grpc.ServicerContext) -> empty_pb2.Empty:
        """End the programs that run."""
        del request, context
        with self._lock:
            for child in self._children:
                child.terminate()
        return empty_pb2.Empty()

    def _run_arguments(self, request: language_pb2.RunRequest) -> str:
        entry = request.info.entry_point
        directory = request.info.program_directory
        return json.dumps(
            {
                "project": request.project,
                "stack": request.stack,
                "organization": request.organization,
                "monitor": request.monitor_address,
                "engine": self._engine_address,
                "parallel": request.parallel,
                "dry_run": request.dryRun,
                "root_directory": request.info.root_directory,
                "program": directory if entry in {"", "."} else str(Path(directory, entry)),
                "arguments": list(request.args),
            }
        )

    def _wait(self, child: subprocess.Popen[bytes], context: grpc.ServicerContext) -> int:
        with self._lock:
            self._children.add(child)
        # An engine that gives up closes the call; the program must not go on without it.
        context.add_callback(lambda: child.terminate() if child.poll() is None else None)
        try:
            return child.wait()
        finally:
            with self._lock:
                self._children.discard(child)

    def _streamed(self, command: list[str], folder: str, variables: dict[str, str]) -> Iterator[tuple[str, bytes]]:
        """Yield ("stdout" or "stderr", bytes) as they come, then ("status", number)."""
        child = subprocess.Popen(
            command, cwd=folder or None, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        with self._lock:
            self._children.add(child)
        chunks: queue.Queue[tuple[str, bytes]] = queue.Queue()

        def pump(name: str, stream: IO[bytes]) -> None:
            while chunk := os.read(stream.fileno(), 65536):
                chunks.put((name, chunk))
            chunks.put((name, b""))

        streams = {"stdout": child.stdout, "stderr": child.stderr}
        for name, stream in streams.items():
            threading.Thread(target=pump, args=(name, stream), daemon=True).start()
        try:
            open_streams = len(streams)
            while open_streams:
                name, chunk = chunks.get()
                if chunk:
                    yield name, chunk
                else:
                    open_streams -= 1
            yield "status", str(child.wait()).encode()
        finally:
            if child.poll() is None:
                child.terminate()
            with self._lock:
                self._children.discard(child)


def _interpreter_or_abort(info: language_pb2.ProgramInfo, context: grpc.ServicerContext) -> str:
    try:
        return environment.interpreter(info)
    except FileNotFoundError as error:
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
        raise


def _variables(python: str) -> dict[str, str]:
    variables = dict(os.environ)
    if python != sys.executable:
        # Another environment does not know this package; our own has it installed.
        variables["PYTHONPATH"] = os.pathsep.join(filter(None, (str(PROJECT_ROOT), variables.get("PYTHONPATH"))))
    return variables
