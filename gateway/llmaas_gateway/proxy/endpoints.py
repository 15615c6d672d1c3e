"""Which requests the proxy serves: those to a model, each of a known kind, and administration. All else is unknown.

LiteLLM has some hundred routes; many of them reach a model or an address of the client's choosing. What is not listed
here is answered with 404 before LiteLLM sees it.
"""

from collections.abc import Iterable, Sequence
from typing import Final

MODEL_ENDPOINTS: Final = {
    "/chat/completions": "chat",
    "/completions": "completion",
    "/embeddings": "embedding",
    "/messages": "messages",
    "/responses": "responses",
}
# Where a call in another API's words goes on, as a chat completion.
CHAT_PATH: Final = "/v1/chat/completions"

# Read by tenants and probes.
_READABLE: Final = frozenset({"/models", "/health/liveliness", "/health/liveness", "/health/readiness"})

# Administration: keys, teams, users, spend, the web interface and our own routes.
_ADMINISTRATION: Final = (
    "/.well-known",
    "/budget",
    "/customer",
    "/end_user",
    "/favicon.ico",
    "/get/ui_theme_settings",
    "/get_favicon",
    "/get_image",
    "/get_logo_url",
    "/global",
    "/key",
    "/litellm-asset-prefix",
    "/llmaas",
    "/login",
    "/model/info",
    "/model_group/info",
    "/onboarding",
    "/organization",
    "/sso",
    "/spend",
    "/team",
    "/ui",
    "/usage",
    "/user",
    "/v2/login",
    "/v2/model/info",
)

# Request headers that reach LiteLLM on the way to a model. Its own (x-litellm-...) steer routing, tags and timeouts.
_PASSED_HEADERS: Final = frozenset(
    {b"accept", b"api-key", b"authorization", b"content-type", b"host", b"user-agent", b"x-api-key"}
)


def _short(path: str) -> str:
    return path.removeprefix("/v1") if path.startswith("/v1/") else path


def model_endpoint(method: str, path: str) -> str | None:
    """The kind of a request to a model; None if it is none."""
    return MODEL_ENDPOINTS.get(_short(path)) if method == "POST" else None


def lists_models(method: str, path: str) -> bool:
    """Whether a request asks for the list of models, or for one of them."""
    short = _short(path)
    return method == "GET" and (short == "/models" or short.startswith("/models/"))


def is_scrape(method: str, path: str) -> bool:
    """Whether Prometheus asks; the proxy beside us lets nobody else."""
    return method == "GET" and path == "/metrics"


def is_served(method: str, path: str) -> bool:
    """Whether a request that goes to no model is passed on."""
    short = _short(path)
    if path == "/" or short in _READABLE or short.startswith("/models/"):
        return method in {"GET", "HEAD", "OPTIONS"}
    return any(short == prefix or short.startswith(f"{prefix}/") for prefix in _ADMINISTRATION)


def passed_headers(headers: Iterable[tuple[bytes, bytes]], length: int) -> Sequence[tuple[bytes, bytes]]:
    """The headers that go with a request to a model, with the length of its new body."""
    kept = [(name, value) for name, value in headers if name.lower() in _PASSED_HEADERS]
    return [*kept, (b"content-length", str(length).encode())]
