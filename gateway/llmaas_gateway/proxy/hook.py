"""What LiteLLM calls: before a request goes to a model, before each try, and for each piece of a stream."""

from datetime import UTC, datetime
from typing import Any, Final

from fastapi import HTTPException
from litellm.integrations.custom_logger import CustomLogger
from litellm.litellm_core_utils.streaming_handler import CustomStreamWrapper
from litellm.proxy.db.exception_handler import PrismaDBExceptionHandler

from llmaas_gateway.accounts.account import TENANT
from llmaas_gateway.audit.refusals import Refusal as CountedRefusal
from llmaas_gateway.audit.refusals import Refusals
from llmaas_gateway.metrics import OverLimit
from llmaas_gateway.proxy.admission import Admission, KeyOwner
from llmaas_gateway.proxy.call import CURRENT, Call
from llmaas_gateway.proxy.precedence import Precedence

# vLLM tells the usage with every piece: what a client that hangs up must pay for.
_STREAM_OPTIONS: Final = {"include_usage": True, "continuous_usage_stats": True}
# Limits of LiteLLM's own that its accounting counts or frees.
_ACCOUNTED_LIMITS: Final = ("max_parallel_requests", "tpm_limit", "team_tpm_limit")


class GatewayHook(CustomLogger):  # type: ignore[misc]  # LiteLLM ships no types
    """The gateway's hook in LiteLLM."""

    def __init__(self, admission: Admission, refusals: Refusals, over_limit: OverLimit, precedence: Precedence) -> None:
        """Takes what decides about calls, counts those that are refused or over a limit, and lets calls go first."""
        super().__init__()
        self._admission = admission
        self._refusals = refusals
        self._over_limit = over_limit
        self._precedence = precedence

    async def async_pre_call_hook(
        self,
        user_api_key_dict: Any,
        cache: Any,  # noqa: ARG002 - LiteLLM's signature
        data: dict[str, Any],  # noqa: ARG002
        call_type: str,  # noqa: ARG002
    ) -> None:
        """Admit the call that the wrapper began, or refuse it; the key has been checked."""
        call = CURRENT.get()
        if call is None:
            # A model would be reached by a way that the wrapper does not know.
            raise HTTPException(404, detail="unknown endpoint")
        # The ledger keeps this limit too: LiteLLM's limiter comes after this hook and would count by itself.
        requests_per_minute, user_api_key_dict.rpm_limit = user_api_key_dict.rpm_limit, None
        call.limits_at_litellm = any(getattr(user_api_key_dict, name, None) for name in _ACCOUNTED_LIMITS)
        if call.admitted is not None:
            return
        owner = _owner(user_api_key_dict, user_api_key_dict.api_key, requests_per_minute)
        call.refusal = await self._admission.admit(call, owner)
        if call.over is not None:
            self._over_limit.note(call.over, refused=call.refusal is not None)
        if call.over is not None or call.refusal is not None:
            status, code = (call.refusal.status, call.refusal.code) if call.refusal else (200, "")
            self._refusals.note(_counted(call, status, code, owner), datetime.now(UTC))
        if call.refusal is not None:
            raise HTTPException(call.refusal.status, detail=call.refusal.code)

    async def async_post_call_failure_hook(
        self,
        request_data: dict[str, Any],  # noqa: ARG002 - LiteLLM's signature
        original_exception: Exception,
        user_api_key_dict: Any,
        traceback_str: str | None = None,  # noqa: ARG002
    ) -> None:
        """Count a call that LiteLLM's check of the key refused, and note what its answer tells of limits."""
        call = CURRENT.get()
        if call is None or call.admitted is not None or call.refusal is not None:
            return
        status, code = _refused(original_exception)
        # The hash is there for keys that exist; of others nothing is kept, for anybody can send as many as he likes.
        owner = _owner(user_api_key_dict, user_api_key_dict.token, user_api_key_dict.rpm_limit)
        self._refusals.note(_counted(call, status, code, owner), datetime.now(UTC))
        # A key that is no longer good is told nothing.
        if status != 401:
            await self._admission.note_limits(call, owner)

    async def async_pre_call_deployment_hook(self, kwargs: dict[str, Any], call_type: Any) -> dict[str, Any]:  # noqa: ARG002
        """Set what goes to the model's server with each try: the tenant's salt, its priority, usage in streams."""
        call = CURRENT.get()
        if call is None or call.admitted is None:
            raise HTTPException(404, detail="unknown endpoint")
        # The last try is the one that answers: a fallback is charged by the prices of its own model.
        call.answered_by = (kwargs.get("metadata") or kwargs.get("litellm_metadata") or {}).get("model_group")
        self._precedence.hand_over(call)
        return {**kwargs, **sent_along(call)}


def _owner(checked: Any, key: str | None, requests_per_minute: int | None) -> KeyOwner:
    return KeyOwner(
        key=key or "",
        key_metadata=checked.metadata or {},
        key_requests_per_minute=requests_per_minute,
        team=checked.team_id or "",
        team_metadata=checked.team_metadata or {},
    )


def _refused(error: Exception) -> tuple[int, str]:
    """With which status LiteLLM's check of a key answers an error, and why in one of its words."""
    if PrismaDBExceptionHandler.is_database_service_unavailable_error(error):
        return 503, "service_unavailable"
    status = str(getattr(error, "code", None) or getattr(error, "status_code", None))
    word = getattr(error, "type", "auth_error")
    return int(status) if status.isdigit() else 401, str(getattr(word, "value", word))


def _counted(call: Call, status: int, code: str, owner: KeyOwner) -> CountedRefusal:
    return CountedRefusal(
        tenant=str(owner.team_metadata.get(TENANT, "")),
        team=owner.team,
        api_key=owner.key,
        model=call.model.name if call.model else "",
        endpoint=call.endpoint,
        status=status,
        code=code,
        limit=call.over or "",
    )


def sent_along(call: Call) -> dict[str, Any]:
    """Parameters that an admitted call takes to the model's server."""
    admitted = call.admitted
    if admitted is None:
        return {}
    extra: dict[str, Any] = {"cache_salt": admitted.salt}
    if call.kind == "embedding":
        return {"extra_body": extra}
    if admitted.priority is not None:
        extra["priority"] = admitted.priority
    own = {name: call.body["max_tokens"] for name in ("max_tokens",) if name in call.body}
    return {"extra_body": extra, **own, **({"stream_options": _STREAM_OPTIONS} if call.stream else {})}


def _note(call: Call, piece: Any) -> None:
    call.pieces += 1
    usage, choices = _told(piece, "usage"), _told(piece, "choices") or []
    if usage is None:
        return
    if len(choices) == 1:
        # Of this choice alone.
        call.usage_by_choice[_told(choices[0], "index") or 0] = usage
    else:
        call.usage = usage


def _told(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else getattr(value, name, None)


def watch_streams() -> None:
    """Note the usage that comes with each piece of a stream; LiteLLM takes it out and has no hook that would see it."""
    original = CustomStreamWrapper.chunk_creator

    def chunk_creator(self: Any, chunk: Any) -> Any:
        call = CURRENT.get()
        if call is not None:
            _note(call, chunk)
        return original(self, chunk=chunk)

    CustomStreamWrapper.chunk_creator = chunk_creator
