"""Settlements that the ledger has enqueued and PostgreSQL does not hold yet."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from llmaas_gateway.ledger.ledger import LedgerUnavailableError

_PAGE: Final = 1_000


@dataclass(frozen=True, slots=True)
class Pending:
    """A settlement on its way to the records.

    Attributes:
        nano_eur: what was charged.
        counted: nano-euros or output tokens that it added, by key of the counter.
    """

    request_id: str
    tenant: str
    team: str
    began_at: datetime
    nano_eur: int
    counted: Mapping[str, int]


def _pending(fields: Mapping[bytes, bytes]) -> Pending:
    record = json.loads(fields[b"record"])
    amounts = {"money": int(fields[b"charged"]), "output": int(fields[b"output"])}
    spec = json.loads(fields.get(b"spec", b"[]"))
    return Pending(
        request_id=fields[b"id"].decode(),
        tenant=record["tenant"],
        team=record["team"],
        nano_eur=amounts["money"],
        began_at=datetime.fromisoformat(record["began_at"]),
        counted={counter["key"]: amounts[counter["kind"]] for counter in spec if counter["kind"] in amounts},
    )


def settlements(entries: list[Any]) -> list[Pending]:
    """The settlements among entries of the stream."""
    return [_pending(fields) for _, fields in entries if fields.get(b"kind") == b"settled"]


@contextmanager
def ledgers_redis() -> Iterator[None]:
    """Whatever is asked of the ledger's Redis in the block.

    Raises:
        LedgerUnavailableError: it is away.
    """
    try:
        yield
    except RedisError as error:
        raise LedgerUnavailableError(f"the ledger's Redis: {type(error).__name__}: {error}") from error


async def pending(redis: Redis, stream: str) -> list[Pending]:
    """All settlements in the ledger's stream.

    Raises:
        LedgerUnavailableError: Redis is away.
    """
    found: list[Pending] = []
    start = "-"
    with ledgers_redis():
        while batch := cast("list[Any]", await redis.xrange(stream, min=start, count=_PAGE)):
            found += settlements(batch)
            start = f"({batch[-1][0].decode()}"
    return found
