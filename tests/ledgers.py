"""A ledger of its own for a test, on a real Redis."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import TypeVar

from llmaas_gateway.ledger.ledger import Ledger, connect

T = TypeVar("T")


def run(port: int, action: Callable[[Ledger], Awaitable[T]]) -> T:
    """One action on a fresh ledger whose epoch is set."""

    async def body() -> T:
        client = connect(f"redis://127.0.0.1:{port}", timeout_seconds=5)
        try:
            ledger = Ledger(client, f"t{uuid.uuid4().hex}")
            await client.set(ledger.epoch_key, "1")
            return await action(ledger)
        finally:
            await client.aclose()

    return asyncio.run(body())
