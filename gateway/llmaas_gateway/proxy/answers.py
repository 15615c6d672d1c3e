"""What a client is told about its limits: OpenAI's error object, and the headers that every answer carries."""

import math
from collections.abc import Sequence
from datetime import datetime

from llmaas_gateway.accounts.account import UNLIMITED
from llmaas_gateway.asgi import Header
from llmaas_gateway.ledger.ledger import Refused
from llmaas_gateway.ledger.limits import Kind, Limit
from llmaas_gateway.money import format_euros
from llmaas_gateway.proxy.call import Call, Refusal

# A credit that is used up does not come back by waiting; who tries again all the same should not do so at once. A call
# under way may end at any moment.
_NO_RESET_SECONDS = 3600
_PARALLEL_SECONDS = 1


def error_of(refusal: Refusal) -> dict[str, str | None]:
    """OpenAI's error object."""
    return {
        "message": refusal.message,
        "type": refusal.kind,
        "param": refusal.parameter,
        "code": refusal.code,
    }


def bad_request(message: str, parameter: str | None = None, *, status: int = 400, code: str | None = None) -> Refusal:
    """The refusal of a request that is wrong in itself."""
    return Refusal(status, "invalid_request_error", code or "invalid_value", message, parameter)


def unavailable(message: str) -> Refusal:
    """The refusal of a request that is right, at a moment when nothing can be decided about it."""
    return Refusal(503, "server_error", "service_unavailable", message, retry_after_seconds=1)


def _written(limit: Limit, amount: int) -> str:
    return f"{format_euros(amount)} EUR" if limit.kind is Kind.MONEY else str(amount)


def over_limit(refused: Refused, needed: int, at: datetime) -> Refusal:
    """The refusal of a call that a limit has no room for.

    Args:
        refused: the ledger's verdict.
        needed: the most that the call can need, in the limit's unit.
        at: now.
    """
    limit = refused.limit
    text = (
        f"Limit {limit.name} of {_written(limit, limit.cap)}: {_written(limit, refused.remaining)} left, "
        f"and this request can need up to {_written(limit, needed)}."
    )
    if limit.kind in {Kind.MONEY, Kind.OUTPUT} and refused.remaining > 0:
        text += " A lower max_tokens needs less."
    wait = max(1, _reset_seconds(limit, _seconds_until(refused.resets_at, at)))
    if refused.resets_at is not None:
        text += f" It begins anew at {refused.resets_at.isoformat(timespec='seconds')}."
    if limit.kind is Kind.MONEY:
        return Refusal(429, "insufficient_quota", "insufficient_quota", text, retry_after_seconds=wait)
    kind = "tokens" if limit.kind is Kind.OUTPUT else "requests"
    return Refusal(429, kind, "rate_limit_exceeded", text, retry_after_seconds=wait)


def _reset_seconds(limit: Limit, left: int | None) -> int:
    """How long until a limit begins anew, or until it is worth to look again where none of its windows ends."""
    if left is None:
        return _PARALLEL_SECONDS if limit.kind is Kind.PARALLEL else _NO_RESET_SECONDS
    return left


def _seconds_until(end: datetime | None, at: datetime) -> int | None:
    if end is None:
        return None
    # Two moments of one time zone would be subtracted as clocks show them, by an hour wrong across a change.
    return max(0, math.ceil(end.timestamp() - at.timestamp()))


def amount(limit: Limit, nano_eur: int, output_tokens: int) -> int:
    """What a call takes of a limit, in the limit's unit."""
    match limit.kind:
        case Kind.MONEY:
            return nano_eur
        case Kind.OUTPUT:
            return output_tokens
        case _:
            return 1


def limit_headers(limits: Sequence[Limit], remaining: Sequence[int | None], at: datetime) -> list[Header]:
    """``X-RateLimit-Limit-*``, ``-Remaining-*`` and ``-Reset-*`` (whole seconds) of every limit there is.

    What remains is not told where it is None.
    """
    headers: list[Header] = []
    left = {window: _seconds_until(window.end(at), at) for window in {limit.window for limit in limits}}
    for limit, room in zip(limits, remaining, strict=True):
        if limit.cap == UNLIMITED:
            continue
        name = limit.name.encode()
        headers.append((b"x-ratelimit-limit-" + name, _told(limit, limit.cap)))
        if room is not None:
            headers.append((b"x-ratelimit-remaining-" + name, _told(limit, max(0, room))))
        seconds = _reset_seconds(limit, left[limit.window])
        headers.append((b"x-ratelimit-reset-" + name, str(seconds).encode()))
    return headers


def _told(limit: Limit, amount: int) -> bytes:
    return (format_euros(amount) if limit.kind is Kind.MONEY else str(amount)).encode()


def headers_of(call: Call) -> list[Header]:
    """The headers that our answer to a call adds to the model's."""
    headers: list[Header] = [(b"x-request-id", call.identity.encode())]
    if call.refused_room is not None:
        return headers + limit_headers(*call.refused_room)
    admitted = call.admitted
    if admitted is None:
        return headers
    if not admitted.room:
        return headers + limit_headers(admitted.limits, [None] * len(admitted.limits), admitted.at)
    nano_eur = admitted.nano_eur if call.charged_nano_eur is None else call.charged_nano_eur
    output = admitted.output_tokens if call.charged_output_tokens is None else call.charged_output_tokens
    left = [
        # A call that is over no longer counts as one under way.
        room - (0 if limit.kind is Kind.PARALLEL and call.settled else amount(limit, nano_eur, output))
        for limit, room in zip(admitted.limits, admitted.room, strict=True)
    ]
    return headers + limit_headers(admitted.limits, left, admitted.at)
