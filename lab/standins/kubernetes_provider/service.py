"""The provider's gRPC service: translates the engine's calls, does nothing itself."""

import json
import threading
from typing import Any, NoReturn

import grpc
from google.protobuf import empty_pb2
from google.rpc import status_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

from lab.standins.kubernetes_provider import configuration, differences, inputs
from lab.standins.kubernetes_provider.cluster import Cluster
from lab.standins.kubernetes_provider.configuration import Configuration
from lab.standins.kubernetes_provider.differences import Change, Difference
from lab.standins.kubernetes_provider.engine import EngineLog
from lab.standins.kubernetes_provider.errors import (
    ClusterUnreachableError,
    InitializationFailedError,
    ProviderError,
    UnknownKindError,
)
from lab.standins.kubernetes_provider.objects import Kind, kind_of
from lab.standins.kubernetes_provider.operations import Operations, Resource
from lab.standins.kubernetes_provider.values import from_struct, has_unknown, to_struct
from lab.standins.kubernetes_provider.waiting import Waiter

VERSION = "4.34.2"
"""The version of the official plugin, and of the `pulumi-kubernetes` SDK, whose interface this is."""

_INPUT = provider_pb2.PropertyDiff
_KINDS = {
    (Change.ADD, False): _INPUT.ADD,
    (Change.ADD, True): _INPUT.ADD_REPLACE,
    (Change.DELETE, False): _INPUT.DELETE,
    (Change.DELETE, True): _INPUT.DELETE_REPLACE,
    (Change.UPDATE, False): _INPUT.UPDATE,
    (Change.UPDATE, True): _INPUT.UPDATE_REPLACE,
}


class KubernetesProvider(provider_pb2_grpc.ResourceProviderServicer):
    """Serves one configured provider."""

    def __init__(self, log: EngineLog) -> None:
        """Take the way to the engine's log; all else comes with `Configure`."""
        self._log = log
        self._configuration = Configuration()
        self._cluster: Cluster | None = None
        self._lock = threading.Lock()
        self._cancelled = threading.Event()

    def Handshake(
        self, request: provider_pb2.ProviderHandshakeRequest, context: grpc.ServicerContext
    ) -> provider_pb2.ProviderHandshakeResponse:
        """Agree on the protocol."""
        del context
        if request.engine_address:
            self._log.connect(request.engine_address)
        return provider_pb2.ProviderHandshakeResponse(
            accept_secrets=True, accept_resources=True, accept_outputs=False, supports_autonaming_configuration=True
        )

    def Attach(self, request: plugin_pb2.PluginAttach, context: grpc.ServicerContext) -> empty_pb2.Empty:
        """Take the address of an engine that found this provider running."""
        del context
        self._log.connect(request.address)
        return empty_pb2.Empty()

    def GetPluginInfo(self, request: empty_pb2.Empty, context: grpc.ServicerContext) -> plugin_pb2.PluginInfo:
        """Say the version."""
        del request, context
        return plugin_pb2.PluginInfo(version=VERSION)

    def GetSchema(
        self, request: provider_pb2.GetSchemaRequest, context: grpc.ServicerContext
    ) -> provider_pb2.GetSchemaResponse:
        """Give the smallest schema that is one: any kind is accepted, so none is listed."""
        del request, context
        return provider_pb2.GetSchemaResponse(schema=json.dumps({"name": "kubernetes", "version": VERSION}))

    def CheckConfig(
        self, request: provider_pb2.CheckRequest, context: grpc.ServicerContext
    ) -> provider_pb2.CheckResponse:
        """Check the provider's arguments."""
        del context
        try:
            configuration.parse(_arguments(from_struct(request.news)))
        except ProviderError as error:
            return provider_pb2.CheckResponse(
                inputs=request.news, failures=[provider_pb2.CheckFailure(reason=str(error))]
            )
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: provider_pb2.DiffRequest, context: grpc.ServicerContext) -> provider_pb2.DiffResponse:
        """Compare the provider's arguments; another cluster replaces it and all its objects."""
        del context
        before = request.old_inputs if request.HasField("old_inputs") else request.olds
        old, new = from_struct(before), from_struct(request.news)
        changed = sorted(key for key in (old.keys() | new.keys()) - {"version"} if old.get(key) != new.get(key))
        replaces = configuration.replaces(configuration.parse(_arguments(old)), configuration.parse(_arguments(new)))
        some = changed or has_unknown(new)
        changes = provider_pb2.DiffResponse.DIFF_SOME if some else provider_pb2.DiffResponse.DIFF_NONE
        return provider_pb2.DiffResponse(changes=changes, replaces=replaces, diffs=changed)

    def Configure(
        self, request: provider_pb2.ConfigureRequest, context: grpc.ServicerContext
    ) -> provider_pb2.ConfigureResponse:
        """Take the arguments; the cluster is reached when it is first needed."""
        try:
            self._configuration = configuration.parse(_arguments(from_struct(request.args)))
        except ProviderError as error:
            _abort(context, error)
        return provider_pb2.ConfigureResponse(
            acceptSecrets=True,
            supportsPreview=True,
            acceptResources=True,
            acceptOutputs=False,
            supports_autonaming_configuration=True,
        )

    def Invoke(self, request: provider_pb2.InvokeRequest, context: grpc.ServicerContext) -> provider_pb2.InvokeResponse:
        """Refuse: Helm, Kustomize and YAML belong to the official plugin."""
        _unimplemented(context, request.tok)

    def Call(self, request: provider_pb2.CallRequest, context: grpc.ServicerContext) -> provider_pb2.CallResponse:
        """Refuse, as `Invoke` does."""
        _unimplemented(context, request.tok)

    def Construct(
        self, request: provider_pb2.ConstructRequest, context: grpc.ServicerContext
    ) -> provider_pb2.ConstructResponse:
        """Refuse: the remote components are Helm charts, YAML files and Kustomize folders."""
        _unimplemented(context, request.type)

    def Check(self, request: provider_pb2.CheckRequest, context: grpc.ServicerContext) -> provider_pb2.CheckResponse:
        """Complete a resource's inputs."""
        new, old = from_struct(request.news), from_struct(request.olds)
        options = request.autonaming if request.HasField("autonaming") else None
        modes = provider_pb2.CheckRequest.AutonamingOptions
        naming = inputs.Naming(
            resource=request.name or request.urn.rpartition("::")[2],
            seed=request.randomSeed or request.urn.encode(),
            proposed=options.proposed_name if options else "",
            disabled=options is not None and options.mode == modes.DISABLE,
        )
        try:
            kind = kind_of(_type(request), new)
            checked, fault = inputs.checked(kind, old, new, naming, self._namespace_for)
        except ProviderError as error:
            _abort(context, error)
        failures = [provider_pb2.CheckFailure(reason=fault)] if fault else []
        return provider_pb2.CheckResponse(inputs=to_struct(checked), failures=failures)

    def Diff(self, request: provider_pb2.DiffRequest, context: grpc.ServicerContext) -> provider_pb2.DiffResponse:
        """Compare a resource's inputs with those of the last update."""
        old, new = from_struct(request.old_inputs), from_struct(request.news)
        try:
            kinds = (kind_of(_type(request), old), kind_of(_type(request), new))
            found = differences.compare(old, new, kinds, self._configuration)
            found = differences.replace_unready(found, from_struct(request.olds), new, kinds[1])
        except ProviderError as error:
            _abort(context, error)
        return _diff_response(found)

    def Create(self, request: provider_pb2.CreateRequest, context: grpc.ServicerContext) -> provider_pb2.CreateResponse:
        """Create an object, or tell what it would be."""
        wanted = from_struct(request.properties)
        try:
            if request.preview:
                outputs = self._preview(request, wanted, {})
                return provider_pb2.CreateResponse(properties=to_struct(outputs))
            identifier, outputs = self._operations(request, wanted).create(wanted)
        except ProviderError as error:
            _abort(context, error)
        return provider_pb2.CreateResponse(id=identifier, properties=to_struct(outputs))

    def Read(self, request: provider_pb2.ReadRequest, context: grpc.ServicerContext) -> provider_pb2.ReadResponse:
        """Read an object for a refresh or an import."""
        known, state = from_struct(request.inputs), from_struct(request.properties)
        try:
            found = self._operations(request, known or state).read(request.id, known, state)
        except ProviderError as error:
            _abort(context, error)
        if found is None:
            return provider_pb2.ReadResponse()
        outputs, read = found
        return provider_pb2.ReadResponse(id=request.id, properties=to_struct(outputs), inputs=to_struct(read))

    def Update(self, request: provider_pb2.UpdateRequest, context: grpc.ServicerContext) -> provider_pb2.UpdateResponse:
        """Change an object, or tell what it would be."""
        wanted, state = from_struct(request.news), from_struct(request.olds)
        try:
            if request.preview:
                return provider_pb2.UpdateResponse(properties=to_struct(self._preview(request, wanted, state)))
            outputs = self._operations(request, wanted).update(wanted, state)
        except ProviderError as error:
            _abort(context, error)
        return provider_pb2.UpdateResponse(properties=to_struct(outputs))

    def Delete(self, request: provider_pb2.DeleteRequest, context: grpc.ServicerContext) -> empty_pb2.Empty:
        """Delete an object."""
        state = from_struct(request.properties)
        try:
            self._operations(request, state).delete(request.id, state)
        except ProviderError as error:
            _abort(context, error)
        return empty_pb2.Empty()

    def Cancel(self, request: empty_pb2.Empty, context: grpc.ServicerContext) -> empty_pb2.Empty:
        """End every wait."""
        del request, context
        self._cancelled.set()
        return empty_pb2.Empty()

    def _connected(self) -> Cluster:
        with self._lock:
            if self._cluster is None:
                self._cluster = self._configuration.connect()
            return self._cluster

    def _namespace_for(self, kind: Kind) -> str:
        namespaced = kind.is_namespaced()
        if namespaced is None:
            try:
                namespaced = self._connected().is_namespaced(kind) if self._configuration.is_known else True
            except (UnknownKindError, ClusterUnreachableError):
                # Its definition is still to be created; most kinds live in namespaces.
                namespaced = True
        if not namespaced:
            return ""
        if self._configuration.namespace or not self._configuration.is_known:
            return self._configuration.namespace or "default"
        return self._connected().namespace or "default"

    def _operations(self, request: Any, described: dict[str, Any]) -> Operations:
        cluster = self._connected()
        urn = request.urn
        resource = Resource(urn, kind_of(_type(request), described), lambda text: self._log.warning(urn, text))
        waiter = Waiter(
            cluster, self._cancelled, lambda text: self._log.progress(urn, text), timeout_seconds=request.timeout
        )
        return Operations(resource, cluster, self._configuration, waiter)

    def _preview(self, request: Any, wanted: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
        if not self._configuration.is_known:
            return wanted
        return self._operations(request, wanted).preview(wanted, state)


def _arguments(properties: dict[str, Any]) -> dict[str, Any]:
    """Leave out what the engine adds to the arguments."""
    return {key: value for key, value in properties.items() if key not in {"version", "pluginDownloadURL"}}


def _type(request: Any) -> str:
    return str(request.type or request.urn.split("::")[2].rpartition("$")[2])


def _diff_response(found: Difference) -> provider_pb2.DiffResponse:
    detailed = {
        field.text: provider_pb2.PropertyDiff(kind=_KINDS[field.change, field.replaces], inputDiff=True)
        for field in found.fields
    }
    response = provider_pb2.DiffResponse
    return response(
        changes=response.DIFF_SOME if found.fields else response.DIFF_NONE,
        replaces=sorted({field.text for field in found.replaces}),
        diffs=sorted({str(field.path[0]) for field in found.fields}),
        deleteBeforeReplace=found.delete_first,
        detailedDiff=detailed,
        hasDetailedDiff=True,
    )


def _unimplemented(context: grpc.ServicerContext, what: str) -> NoReturn:
    context.abort(
        grpc.StatusCode.UNIMPLEMENTED,
        f"{what} is not carried by this provider: declare the objects themselves, "
        "or install the official pulumi-resource-kubernetes",
    )
    raise AssertionError


def _abort(context: grpc.ServicerContext, error: ProviderError) -> NoReturn:
    if isinstance(error, InitializationFailedError):
        # The engine keeps the object in its state when the status carries these details.
        detail = provider_pb2.ErrorResourceInitFailed(
            id=error.identifier,
            properties=to_struct(error.outputs),
            reasons=list(error.reasons),
            inputs=to_struct(error.inputs),
        )
        status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=str(error))
        status.details.add().Pack(detail)
        context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(grpc.StatusCode.UNKNOWN, str(error))
    raise AssertionError
