"""What start-up made is left out of the garbage collector's work, and only that."""

import asyncio
import gc
from collections.abc import Iterator

import pytest
from llmaas_gateway.asgi import Message, Receive, Scope, Send
from llmaas_gateway.proxy.garbage import spared_after_start


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    """This process collects as before."""
    gc.unfreeze()
    yield
    gc.unfreeze()


def frozen_when_told(scope: str, message: str) -> tuple[int, list[Message]]:
    """How many objects are left out when a message of an application reaches its server, and what reached it."""
    sent: list[Message] = []
    counts: list[int] = []

    async def app(_: Scope, __: Receive, send: Send) -> None:
        await send({"type": message})

    async def server(given: Message) -> None:
        counts.append(gc.get_freeze_count())
        sent.append(given)

    async def nothing() -> Message:
        return {}

    async def run() -> None:
        await spared_after_start(app)({"type": scope}, nothing, server)

    asyncio.run(run())
    return counts[0], sent


def test_all_that_is_there_is_left_out_before_the_server_hears_that_it_has_started() -> None:
    there = len(gc.get_objects())
    count, sent = frozen_when_told("lifespan", "lifespan.startup.complete")
    assert count > there / 2
    assert sent == [{"type": "lifespan.startup.complete"}]


def test_what_start_up_threw_away_is_not_kept() -> None:
    class Ring:
        def __init__(self) -> None:
            self.itself = self

    Ring()
    frozen_when_told("lifespan", "lifespan.startup.complete")
    gc.unfreeze()
    assert not [each for each in gc.get_objects() if type(each) is Ring]


@pytest.mark.parametrize(
    ("scope", "message"),
    [
        ("lifespan", "lifespan.startup.failed"),
        ("lifespan", "lifespan.shutdown.complete"),
        ("http", "http.response.start"),
    ],
)
def test_nothing_else_leaves_anything_out(scope: str, message: str) -> None:
    assert frozen_when_told(scope, message) == (0, [{"type": message}])
