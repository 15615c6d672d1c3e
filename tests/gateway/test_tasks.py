"""What runs beside the calls ends when it is told to, even where the library below it drops a cancellation."""

import asyncio

import pytest
from llmaas_gateway import tasks
from llmaas_gateway.tasks import end


def test_a_task_that_drops_a_cancellation_is_cancelled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "_AGAIN_SECONDS", 0.01)
    dropped = 0

    async def stubborn() -> None:
        nonlocal dropped
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                dropped += 1
                if dropped == 3:
                    raise

    async def broken() -> None:
        raise RuntimeError("nobody asked")

    async def action() -> list[bool]:
        running = [asyncio.create_task(each()) for each in (stubborn, broken)]
        await asyncio.sleep(0)
        await end(*running)
        return [task.cancelled() for task in running]

    assert asyncio.run(action()) == [True, False]
    assert dropped == 3


def test_nothing_to_end_is_no_error() -> None:
    asyncio.run(end())
