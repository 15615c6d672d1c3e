"""The configuration of the three HAProxies: at the edge, beside LiteLLM, beside each model server."""

import json
from collections.abc import Mapping
from typing import Any, Final, Literal

from llmaas.settings import Platform
from llmaas.settings.service import LONGEST_ANSWER_SECONDS
from llmaas.views import topology as t
from llmaas.views.rendering import render

# Where pods find their certificates: one folder each, with tls.pem (certificate and key) and ca.crt.
CERTIFICATES_ROOT: Final = "/run/llmaas/certificates"

# What a model server is asked.
MODEL_PATHS: Final = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings")
# What a tenant may ask: the gateway makes chat completions of the words of other APIs.
MESSAGES_PATH: Final = "/v1/messages"
POST_PATHS: Final = (*MODEL_PATHS, MESSAGES_PATH, "/v1/responses")
# A tenant's own usage, the only requests whose query parameters reach the gateway.
USAGE_PATHS: Final = ("/v1/usage", "/v1/usage/requests")

# How long a connection may be silent: longer than the gateway waits, which knows what to say. And how long a stream may
# go on after its proxy was told to stop.
SILENT_SECONDS: Final = LONGEST_ANSWER_SECONDS + 30
DRAIN_SECONDS: Final = 120

# Memory of each container, in MiB: what is set aside, and where the kernel ends it. No proxy may come to that end, so
# the connections that it takes follow from it.
Place = Literal["edge", "gateway", "serving"]
REQUEST_MIB: Final = 32
LIMIT_MIB: Final[Mapping[Place, int]] = {"edge": 2048, "gateway": 1024, "serving": 512}
_BUFFER_BYTES: Final = 128 * 1024
# Of a body that nobody behind takes in, a connection holds three buffers; 476 KiB were measured with TLS on both sides.
_CONNECTION_KIB: Final = 512
# The program itself, and what it remembers of 65,536 addresses.
_OWN_MIB: Final = 64
# Connections that no caller gets: those of administrators, the kubelet and Prometheus.
_KEPT_CONNECTIONS: Final = 64
# Five times what a tier allows a tenant at once, as a company's clients may share one address; it takes eight addresses
# to fill an edge.
CONNECTIONS_OF_AN_ADDRESS: Final = 512

_LARGEST_BODY_BYTES: Final = 32 * 1024 * 1024

# Request headers that reach LiteLLM from a tenant, as regular expressions; all others are dropped.
_PASSED_HEADERS: Final = (
    "host",
    "authorization",
    "content-type",
    "content-length",
    "content-encoding",
    "transfer-encoding",
    "accept",
    "accept-encoding",
    "user-agent",
    "connection",
)


def openai_error(message: str, kind: str, code: str) -> str:
    """An error body as OpenAI's clients understand it, fit to stand between single quotes in HAProxy's configuration.

    ``message`` may hold HAProxy sample expressions, whose values must be made safe for JSON by the ``json`` converter.
    """
    body = json.dumps({"error": {"message": message, "type": kind, "param": None, "code": code}})
    if "'" in body:
        raise ValueError(f"an error body must not hold a single quote: {body}")
    return body


def _error_bodies() -> dict[int, str]:
    """Bodies of the errors that HAProxy itself answers with."""
    kind_of = {400: "invalid_request_error", 403: "invalid_request_error", 404: "invalid_request_error"}
    texts = {
        400: ("The request is not valid HTTP.", "bad_request"),
        403: ("This is not allowed.", "forbidden"),
        404: ("Unknown request URL.", "unknown_url"),
        408: ("The request did not arrive in time.", "request_timeout"),
        500: ("The server had an error while processing your request. Please retry.", "internal_error"),
        502: ("The server behind the gateway ended the connection. Please retry.", "bad_gateway"),
        503: ("No server is ready for this request at the moment. Please retry.", "service_unavailable"),
        504: ("The server did not answer in time. Please retry.", "gateway_timeout"),
    }
    return {
        status: openai_error(text, kind_of.get(status, "server_error"), code) for status, (text, code) in texts.items()
    }


def _shared() -> dict[str, Any]:
    return {
        "drain_seconds": DRAIN_SECONDS,
        "silent_seconds": SILENT_SECONDS,
        "error_bodies": _error_bodies(),
        "prometheus": t.PROMETHEUS_IDENTITY,
        "ports": {
            "status": t.STATUS_PORT,
            "public": t.EDGE_PUBLIC_PORT,
            "administration": t.ADMINISTRATION_PORT,
            "gateway": t.GATEWAY_PORT,
            "serving": t.SERVING_PORT,
            "litellm": t.LITELLM_LOOPBACK_PORT,
            "vllm": t.VLLM_LOOPBACK_PORT,
        },
    }


def _room(place: Place) -> dict[str, int]:
    """How many connections the container's memory holds, and how many of them callers may take."""
    connections = (LIMIT_MIB[place] - _OWN_MIB) * 1024 // _CONNECTION_KIB
    callers = connections - _KEPT_CONNECTIONS
    return {
        "buffer_bytes": _BUFFER_BYTES,
        "connections": connections,
        # Beside LiteLLM a call comes in, and goes out again to a model.
        "callers": callers // 2 if place == "gateway" else callers,
        "connections_of_an_address": CONNECTIONS_OF_AN_ADDRESS,
    }


def certificate_folder(leaf: str) -> str:
    """Where a pod finds the certificate called ``leaf``."""
    return f"{CERTIFICATES_ROOT}/{leaf}"


def edge_configuration(platform: Platform) -> str:
    """HAProxy's configuration at the edge."""
    addresses = t.service_addresses(platform)
    no_model = "The model `%[var(txn.model),json(utf8s)]` does not exist or you do not have access to it."
    unknown = "Unknown request URL: %[method] %[path,json(utf8s)]. Please check the URL for typos."
    return render(
        "haproxy/edge.cfg.j2",
        **_shared(),
        **_room("edge"),
        server_certificate=certificate_folder(t.EDGE_SERVICE),
        client_certificate=certificate_folder(t.EDGE_CLIENT),
        public_names=(*platform.gateway.public_host_names, *addresses),
        administration_names=(*platform.gateway.administration_host_names, *addresses),
        bastions=[str(address) for address in platform.site.bastions],
        post_paths=POST_PATHS,
        messages_path=MESSAGES_PATH,
        usage_paths=USAGE_PATHS,
        passed_headers=_PASSED_HEADERS,
        unknown_url=openai_error(unknown, "invalid_request_error", "unknown_url"),
        unknown_key=openai_error(
            "Incorrect API key provided. Send your key as: Authorization: Bearer KEY.",
            "invalid_request_error",
            "invalid_api_key",
        ),
        spent_budget=openai_error(
            "You exceeded your current quota, please check your plan and billing details.",
            "insufficient_quota",
            "insufficient_quota",
        ),
        unknown_model=openai_error(no_model, "invalid_request_error", "model_not_found"),
        too_large=openai_error("The request body is too large.", "invalid_request_error", "request_too_large"),
        largest_body_bytes=_LARGEST_BODY_BYTES,
        gateway={
            "name": t.full_name(t.GATEWAY_SERVICE, t.GATEWAY),
            "port": t.GATEWAY_PORT,
            # A rollout has old and new pods side by side.
            "slots": 2 * platform.gateway.replicas,
        },
    )


def gateway_configuration(platform: Platform) -> str:
    """HAProxy's configuration beside LiteLLM."""
    return render(
        "haproxy/gateway.cfg.j2",
        **_shared(),
        **_room("gateway"),
        certificate=certificate_folder(t.GATEWAY_IDENTITY),
        edge_client=t.EDGE_CLIENT,
        models=[
            {
                "name": model.name,
                "slug": model.slug,
                "host": t.full_name(t.vllm_name(model), t.SERVING),
                "port": t.loopback_port(platform, model),
                "slots": 2 * model.replicas,
            }
            for model in t.served_models(platform)
        ],
    )


def serving_configuration(leaf: str) -> str:
    """HAProxy's configuration beside a model server whose certificate is called ``leaf``."""
    return render(
        "haproxy/serving.cfg.j2",
        **_shared(),
        **_room("serving"),
        certificate=certificate_folder(leaf),
        gateway_client=t.GATEWAY_IDENTITY,
        post_paths=MODEL_PATHS,
    )
