"""Every call of LiteLLM's own administration is recorded before it is done, and its outcome after it.

Our own routes record what they do themselves, in the transaction in which they do it. Of LiteLLM's routes only the
name, the caller and the names of the fields are kept: bodies hold keys, addresses and names, which the platform's
stream could not forget.
"""

import hashlib
import json
import logging
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import psycopg

from llmaas_gateway.asgi import JSON, App, Message, Receive, Scope, Send, answer
from llmaas_gateway.audit.log import AuditLog
from llmaas_gateway.audit.records import Act

_log = logging.getLogger(__name__)

_READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN: Final = "/llmaas/"
_OPERATOR: Final = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_WORD: Final = re.compile(r"[a-z_]{1,24}")
_LARGEST_BODY: Final = 1024 * 1024
_AWAY: Final = {
    "error": {
        "message": "The act was not done: the audit cannot record it at the moment. Please retry.",
        "type": "server_error",
        "param": None,
        "code": "audit_unavailable",
    }
}


class AdministrationAudit:
    """Wraps LiteLLM's application; only what changes something is recorded."""

    def __init__(self, app: App, log: AuditLog, is_model_call: Callable[[str, str], bool]) -> None:
        """Takes the application, the log, and what tells by method and path that a request goes to a model."""
        self._app = app
        self._log = log
        self._is_model_call = is_model_call

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, recorded if it administers; a 503 if it cannot be recorded."""
        if scope["type"] != "http" or not self._administers(scope["method"], scope["path"]):
            await self._app(scope, receive, send)
            return
        messages, body = await _read(receive)
        act = _act(scope, body)
        try:
            await self._log.append([act])
        except (psycopg.Error, OSError) as error:
            _log.error("an act of administration was refused: audit away (%s)", type(error).__name__)
            await answer(send, 503, [JSON], json.dumps(_AWAY).encode())
            return
        status = 0

        async def replay() -> Message:
            return messages.pop(0) if messages else await receive()

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
            await send(message)

        try:
            await self._app(scope, replay, watched)
        finally:
            await self._record_outcome(act, status)

    def _administers(self, method: str, path: str) -> bool:
        return method not in _READING and not path.startswith(_OWN) and not self._is_model_call(method, path)

    async def _record_outcome(self, act: Act, status: int) -> None:
        details = {**act.details, "outcome": status or "no answer"}
        try:
            await self._log.append([Act(act.actor, act.action, act.object, datetime.now(UTC), details=details)])
        except (psycopg.Error, OSError) as error:
            # That it was begun stands in the audit; what came of it only here.
            _log.error("outcome %s of %s not recorded: %s", status, act.object, type(error).__name__)


async def _read(receive: Receive) -> tuple[list[Message], bytes]:
    """The messages of a request as they came, and its body up to a bound."""
    messages, body = [], b""
    while len(body) <= _LARGEST_BODY:
        messages.append(await receive())
        body += messages[-1].get("body", b"")
        if messages[-1]["type"] != "http.request" or not messages[-1].get("more_body", False):
            break
    return messages, body


def _act(scope: Scope, body: bytes) -> Act:
    # What is not a plain word may be a key or a person in a path; it is kept as "x".
    parts = [part for part in scope["path"].lower().split("/") if part]
    words = [part if _WORD.fullmatch(part) else "x" for part in parts[:4]]
    operator, key = _header(scope, b"x-llmaas-operator"), _header(scope, b"authorization")
    try:
        content = json.loads(body) if body else {}
    except (ValueError, RecursionError):
        content = None
    # Names are checked: a key of an object can hold anything too.
    fields = [name for name in sorted(content) if _WORD.fullmatch(name)] if isinstance(content, dict) else []
    details = {
        "method": scope["method"],
        "fields": fields[:50],
        "key": hashlib.sha256(key.removeprefix(b"Bearer ")).hexdigest() if key else "",
    }
    action = ".".join(["litellm", *words] if words else ["litellm", "call"])
    name = operator.decode() if _OPERATOR.fullmatch(operator) else "unnamed"
    return Act(f"operator:{name}", action, "/" + "/".join(words), datetime.now(UTC), details=details)


def _header(scope: Scope, wanted: bytes) -> bytes:
    return next((bytes(value) for name, value in scope["headers"] if name.lower() == wanted), b"")
