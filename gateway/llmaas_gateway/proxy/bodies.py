"""A client's body read: the call that it asks for, and what of it goes on to LiteLLM."""

import json
from typing import Any, Final

from llmaas_gateway.dialects import DIALECTS
from llmaas_gateway.dialects.dialect import Dialect
from llmaas_gateway.isolation.places import MOST_LEVELS, is_too_deep
from llmaas_gateway.isolation.requests import RequestRefusedError, sanitise
from llmaas_gateway.proxy.answers import bad_request
from llmaas_gateway.proxy.call import Call, Refusal
from llmaas_gateway.proxy.settings import GatewaySettings, ServedModel

# A larger one takes long enough to read that others should not wait for it.
LARGE_BYTES: Final = 64 * 1024

_TOO_DEEP: Final = (
    f"The body is nested too deeply; lists and objects may stand in one another over {MOST_LEVELS} levels."
)


def unread(kind: str, path: str, fault: Refusal) -> tuple[Call, bytes]:
    """A call whose body is not read."""
    known = DIALECTS.get(kind)
    return _with_content(_faulty(kind, path, known({}) if known else None, fault))


def read(settings: GatewaySettings, kind: str, path: str, raw: bytes) -> tuple[Call, bytes]:
    """The call with what of its body may pass, and that as bytes.

    What is wrong with it stands in the call, since it is told only to who has a valid key.

    Args:
        settings: of the gateway.
        kind: of the request, as ``endpoints`` names it.
        path: the client's.
        raw: the client's body.
    """
    return _with_content(_begin(settings, kind, path, raw))


def _with_content(call: Call) -> tuple[Call, bytes]:
    return call, json.dumps(call.body, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _chat_kind(kind: str) -> str:
    return "chat" if kind in DIALECTS else kind


def _faulty(kind: str, path: str, dialect: Dialect | None, fault: Refusal, model: ServedModel | None = None) -> Call:
    body = {"model": "" if model is None else model.name}
    return Call(path, _chat_kind(kind), model, body, dialect=dialect, fault=fault)


def _parsed(raw: bytes) -> dict[str, Any] | Refusal:
    """The body, or what is wrong with it whatever the model."""
    try:
        body = json.loads(raw)
    except ValueError:
        return bad_request("The body is not valid JSON.")
    except RecursionError:
        return bad_request(_TOO_DEEP)
    if not isinstance(body, dict) or not isinstance(body.get("model"), str):
        return bad_request("The body must be an object that names a model.", "model")
    return bad_request(_TOO_DEEP) if is_too_deep(body) else body


def _begin(settings: GatewaySettings, kind: str, path: str, raw: bytes) -> Call:
    known = DIALECTS.get(kind)
    body = _parsed(raw)
    if isinstance(body, Refusal):
        return _faulty(kind, path, known({}) if known else None, body)
    model = settings.models_by_name.get(body["model"])
    dialect = known(body) if known else None
    if model is None:
        return Call(path, _chat_kind(kind), None, {"model": body["model"]}, dialect=dialect)
    try:
        return Call(path, _chat_kind(kind), model, _safe(settings, kind, body, dialect, model), dialect=dialect)
    except RequestRefusedError as error:
        if dialect is not None:
            error = RequestRefusedError(dialect.names.get(error.parameter, error.parameter), error.reason)
        return _faulty(kind, path, dialect, bad_request(str(error), error.parameter), model)


def _safe(
    settings: GatewaySettings, kind: str, body: dict[str, Any], dialect: Dialect | None, model: ServedModel
) -> dict[str, Any]:
    asked = body if dialect is None else dialect.chat()
    passed = sanitise(_chat_kind(kind), asked, model.bounds(settings.body_bytes))
    passed.pop("stream_options", None)
    if passed.get("stream"):
        # Every stream ends with its usage, whatever the client wishes.
        passed["stream_options"] = {"include_usage": True}
    return passed
