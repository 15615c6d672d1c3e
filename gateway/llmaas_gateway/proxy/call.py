"""One call on its way through the proxy: what the wrapper, the hook and the settlement know about it."""

import time
import uuid
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from llmaas_gateway.dialects.dialect import Dialect
from llmaas_gateway.ledger.limits import Limit
from llmaas_gateway.proxy.settings import ServedModel
from llmaas_gateway.proxy.usage import normalised, summed


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is given instead of the model's, in the shape of OpenAI's error object.

    Attributes:
        status: of HTTP.
        kind: ``error.type``.
        code: ``error.code``.
        message: for the client; names what is wrong and what would help.
        parameter: the field at fault.
        retry_after_seconds: when trying again may succeed.
    """

    status: int
    kind: str
    code: str
    message: str
    parameter: str | None = None
    retry_after_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Admitted:
    """What was promised when the call was let in.

    Attributes:
        billing: how the tenant pays, ``prepaid`` or ``monthly``.
        at: in the time zone of the price book; prices and windows are those of this moment.
        limits: that it must keep.
        room: what each limit had left before the call; empty while the ledger is away.
        nano_eur: the most that it may cost.
        output_tokens: the most that it may be answered with.
        factor: of the price book, by which the tier's prices differ.
        salt: of the tenant's prefix cache in this month.
        priority: in the model's queue, where its server has one; the lowest goes first.
        held: whether the ledger holds a reservation; False for a call let in while it was away.
        shadow: whether it is charged whatever its limits say.
    """

    tenant: str
    team: str
    key: str
    billing: str
    at: datetime
    limits: Sequence[Limit]
    room: Sequence[int]
    nano_eur: int
    output_tokens: int
    factor: str | None
    salt: str
    priority: int | None
    held: bool
    shadow: bool


@dataclass(slots=True)
class Call:
    """A request to a model, from its first byte to its settlement.

    Attributes:
        endpoint: the path, e.g. ``/v1/chat/completions``.
        kind: of request, as ``isolation.requests`` names it.
        body: what passes on, after it was made safe.
        dialect: the API that the client speaks, where it is not the model's own.
        fault: what is wrong with the request; answered only to who has a valid key.
        refusal: the answer that the hook decided on.
        usage: of the whole answer.
        usage_by_choice: of a stream, what the model told last of each choice.
        pieces: parts of a stream that held something, a lower bound of its tokens.
        said: texts of a whole answer for which the model told no usage; None where there is no such answer.
        least_input_tokens: what the prompts have at least, by the gateway's count.
        system_tokens: of the prompt, those of system messages, by the tokenizer of the model that was asked for.
        complete: whether the answer came to its end.
        answered_by: the model that answered, where another one took over.
        handed_over: whether it went on to a model.
        limits_at_litellm: whether its key has limits there that LiteLLM's accounting keeps.
        over: the name of the limit that had no room for it, also where it passes all the same (shadow mode).
        refused_room: of a call that is refused, its limits, what they have left (None: unknown), and when that was.
    """

    endpoint: str
    kind: str
    model: ServedModel | None
    body: dict[str, Any]
    dialect: Dialect | None = None
    fault: Refusal | None = None
    refusal: Refusal | None = None
    admitted: Admitted | None = None
    usage: Mapping[str, Any] | None = None
    usage_by_choice: dict[int, Any] = field(default_factory=dict)
    pieces: int = 0
    said: Sequence[str] | None = None
    least_input_tokens: int = 0
    system_tokens: int = 0
    settled: bool = False
    charged_nano_eur: int | None = None
    charged_output_tokens: int | None = None
    answered_by: str | None = None
    handed_over: bool = False
    limits_at_litellm: bool = False
    over: str | None = None
    refused_room: tuple[Sequence[Limit], Sequence[int | None], datetime] | None = None
    identity: str = field(default_factory=lambda: uuid.uuid4().hex)
    started: float = field(default_factory=time.monotonic)

    def renew_identity(self) -> None:
        """Go on under a new id; what was reserved under the old one is given up."""
        self.identity = uuid.uuid4().hex

    @property
    def usage_so_far(self) -> Mapping[str, Any] | None:
        """The usage of the answer, or of what has come of it; None as long as the model has told none."""
        return normalised(self.usage) or summed(self.usage_by_choice, self.body.get("n") or 1)

    def forget_usage(self) -> None:
        """Nothing is charged, whatever the model has told."""
        self.usage, self.usage_by_choice, self.pieces, self.said = None, {}, 0, None

    @property
    def stream(self) -> bool:
        """Whether the client asked for a stream."""
        return bool(self.body.get("stream"))


CURRENT: ContextVar[Call | None] = ContextVar("llmaas_call", default=None)
"""The call that the running task belongs to; None outside of any."""
