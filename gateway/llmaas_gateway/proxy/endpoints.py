"""Which requests the proxy serves: those to a model, each of a known kind, and administration. All else is unknown.

LiteLLM has some hundred routes; many of them reach a model or an address of the client's choosing. What is not listed
here is answered with 404 before LiteLLM sees it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from llmaas_gateway.asgi import JSON

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
_READABLE: Final = frozenset(
    {"/models", "/usage", "/usage/requests", "/health/liveliness", "/health/liveness", "/health/readiness"}
)

# Administration: keys, teams, users, spend, the web interface's requests and our own routes, by the first two words of
# a path. The first alone would let pass what begins with any word at LiteLLM, such as ``/{provider}/v1/files``.
_ADMINISTRATION: Final[Mapping[str, frozenset[str]]] = {
    first: frozenset(second.split())
    for first, second in {
        ".well-known": "litellm-ui-config",
        "budget": "delete info list new settings update",
        "customer": "block daily delete info list new unblock update",
        "end_user": "block daily delete info list new unblock update",
        "get": "ui_theme_settings",
        "global": "activity all_end_users spend",
        "key": "aliases block bulk_update delete generate info list regenerate service-account spend unblock update",
        "llmaas": "audit keys reconciliation tenants tiers usage",
        "model": "info",
        "model_group": "info",
        "onboarding": "claim_token get_token",
        "organization": "daily delete info list member_add member_delete member_update new spend update",
        "sso": "callback cli debug get key readiness saml",
        "spend": "calculate capture_rate keys logs tags users",
        "team": "available block bulk_member_add daily delete filter info key list member_add member_delete"
        " member_update metadata_schema model new permissions_bulk_update permissions_list permissions_update spend"
        " unblock update",
        "user": "available_roles bulk_update daily delete filter info list new password spend update",
        "v2": "login model",
    }.items()
}
_SIGNING_IN: Final = "/login"

# The web interface itself, which is only read.
_PAGES: Final = frozenset({"/", "/favicon.ico", "/get_favicon", "/get_image", "/get_logo_url", "/ui"})
_FILES: Final = ("/ui/", "/litellm-asset-prefix/_next/")

# Request headers that reach LiteLLM on the way to a model. Its own (x-litellm-...) steer routing, tags and timeouts;
# those that tell how a body is to be read would make another request of the one that was made safe, for LiteLLM reads
# the same bytes as a form where a client calls them so.
_PASSED_HEADERS: Final = frozenset({b"accept", b"api-key", b"authorization", b"host", b"user-agent", b"x-api-key"})

# Those of them that LiteLLM takes a key from.
_KEYS: Final = frozenset({b"api-key", b"authorization", b"x-api-key"})


def _short(path: str) -> str:
    return path.removeprefix("/v1") if path.startswith("/v1/") else path


def model_endpoint(method: str, path: str) -> str | None:
    """The kind of a request to a model; None if it is none."""
    return MODEL_ENDPOINTS.get(_short(path)) if method == "POST" else None


def lists_models(method: str, path: str) -> bool:
    """Whether a request asks for the list of models, or for one of them."""
    short = _short(path)
    return method == "GET" and (short == "/models" or (short.startswith("/models/") and short.count("/") == 2))


def is_scrape(method: str, path: str) -> bool:
    """Whether Prometheus asks; the proxy beside us lets nobody else."""
    return method == "GET" and path == "/metrics"


def is_served(method: str, path: str) -> bool:
    """Whether a request that goes to no model is passed on."""
    short = _short(path)
    if short in _READABLE or path in _PAGES or path.startswith(_FILES):
        return method in {"GET", "HEAD", "OPTIONS"}
    words = short.split("/")
    return path == _SIGNING_IN or (len(words) > 2 and words[2] in _ADMINISTRATION.get(words[1], ()))


def keys(headers: Iterable[tuple[bytes, bytes]]) -> Sequence[str]:
    """The keys that a request to a model carries, good or not, without the word before them."""
    values = [value.split() for name, value in headers if name.lower() in _KEYS]
    return [words[-1].decode("latin-1") for words in values if words]


def passed_headers(headers: Iterable[tuple[bytes, bytes]], length: int) -> Sequence[tuple[bytes, bytes]]:
    """The headers that go with a request to a model, with type and length of its new body."""
    kept = [(name, value) for name, value in headers if name.lower() in _PASSED_HEADERS]
    return [*kept, JSON, (b"content-length", str(length).encode())]
