"""Calls go before LiteLLM's accounting: it waits for quiet, for no more than a moment, and for nothing at the end."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
from llmaas_gateway.proxy import precedence
from llmaas_gateway.proxy.call import Call
from llmaas_gateway.proxy.precedence import Precedence

# for what happens at once, on however busy a machine
LONG = 60
# longer than any pause, shorter than what is waited at most where a test makes that long
PAUSES = 0.1


class Scene:
    """What was accounted for, in its order."""

    def __init__(self) -> None:
        self.accounted: list[str] = []
        self.precedence = Precedence()

    def answered(self, name: str) -> Coroutine[Any, Any, None]:
        async def account() -> None:
            self.accounted.append(name)

        return self.precedence.after_calls(account)


def play(action: Callable[[Scene], Awaitable[None]]) -> list[str]:
    """What was accounted for in the end."""

    async def within() -> list[str]:
        scene = Scene()
        async with asyncio.timeout(LONG):
            await action(scene)
        return scene.accounted

    return asyncio.run(within())


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is done because it has waited for long."""
    monkeypatch.setattr(precedence, "_MOST_SECONDS", 10 * LONG)


def _call() -> Call:
    return Call("/v1/chat/completions", "chat", None, {})


@pytest.mark.usefixtures("patient")
def test_a_quiet_proxy_accounts_at_once() -> None:
    assert play(lambda scene: scene.answered("first")) == ["first"]


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("arrives", ["hand_over", "end"])
def test_a_call_on_its_way_goes_first(arrives: str) -> None:
    async def action(scene: Scene) -> None:
        scene.precedence.begin()
        answered = asyncio.ensure_future(scene.answered("first"))
        await asyncio.sleep(PAUSES)
        assert scene.accounted == []
        getattr(scene.precedence, arrives)(_call())
        await answered

    assert play(action) == ["first"]


@pytest.mark.usefixtures("patient")
def test_a_call_arrives_once_however_often_that_is_said() -> None:
    async def action(scene: Scene) -> None:
        scene.precedence.begin()
        scene.precedence.begin()
        scene.precedence.hand_over(one := _call())
        scene.precedence.end(one)
        answered = asyncio.ensure_future(scene.answered("first"))
        await asyncio.sleep(PAUSES)
        # the other one is still on its way
        assert scene.accounted == []
        scene.precedence.end(_call())
        await answered

    assert play(action) == ["first"]


@pytest.mark.usefixtures("patient")
def test_a_client_that_asks_one_question_after_the_other_sends_the_next_one_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(precedence, "_ASKED_SECONDS", PAUSES)

    async def action(scene: Scene) -> None:
        scene.precedence.begin()
        scene.precedence.end(_call())
        answered = asyncio.ensure_future(scene.answered("first"))
        await asyncio.sleep(0)
        scene.precedence.begin()
        await asyncio.sleep(2 * PAUSES)
        assert scene.accounted == []
        scene.precedence.hand_over(_call())
        await answered

    assert play(action) == ["first"]


def test_one_that_never_is_quiet_accounts_all_the_same() -> None:
    async def action(scene: Scene) -> None:
        scene.precedence.begin()
        await asyncio.gather(*(scene.answered(name) for name in ("first", "second", "third")))

    assert sorted(play(action)) == ["first", "second", "third"]


@pytest.mark.usefixtures("patient")
def test_at_the_end_nothing_waits_and_everything_was_accounted_for() -> None:
    async def action(scene: Scene) -> None:
        scene.precedence.begin()
        waiting = [asyncio.ensure_future(scene.answered(name)) for name in ("first", "second")]
        await asyncio.sleep(0)
        await scene.precedence.drain()
        assert scene.accounted == ["first", "second"]
        await asyncio.gather(*waiting)

    assert play(action) == ["first", "second"]


@pytest.mark.usefixtures("patient")
def test_an_error_of_the_accounting_is_told_and_the_next_one_goes_on() -> None:
    async def broken() -> None:
        raise ConnectionError

    async def action(scene: Scene) -> None:
        with pytest.raises(ConnectionError):
            await scene.precedence.after_calls(broken)
        await scene.answered("next")

    assert play(action) == ["next"]


@pytest.mark.usefixtures("patient")
def test_one_accounting_begins_after_the_other_but_not_behind_one_that_hangs() -> None:
    told: list[str] = []

    async def action(scene: Scene) -> None:
        answer = asyncio.Event()

        async def hanging() -> None:
            told.append("hangs")
            await answer.wait()
            told.append("answered")

        async def slow() -> None:
            told.append("begins")
            for _ in range(10):
                await asyncio.sleep(0)
            told.append("ends")

        first, *others = [asyncio.ensure_future(scene.precedence.after_calls(one)) for one in (hanging, slow, slow)]
        await asyncio.gather(*others)
        answer.set()
        await first

    play(action)
    assert told == ["hangs", "begins", "ends", "begins", "ends", "answered"]


def test_what_has_waited_for_long_is_accounted_for_without_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precedence, "_MOST_SECONDS", PAUSES)
    monkeypatch.setattr(precedence, "_ALONE_SECONDS", 10 * LONG)

    async def action(scene: Scene) -> None:
        others = asyncio.Event()

        async def until_the_others_are_done() -> None:
            await others.wait()

        first = asyncio.ensure_future(scene.precedence.after_calls(until_the_others_are_done))
        await asyncio.gather(*(scene.answered(name) for name in ("second", "third")))
        others.set()
        await first

    assert play(action) == ["second", "third"]
