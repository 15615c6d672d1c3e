"""Calls go before LiteLLM's accounting: it waits for quiet, for no more than a moment, and for nothing at the end."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from llmaas_gateway.proxy import precedence
from llmaas_gateway.proxy.call import Call
from llmaas_gateway.proxy.precedence import Precedence

_yield = asyncio.sleep


class Scene:
    """A clock that goes on when somebody sleeps, and what was accounted for at which second."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self.accounted: list[tuple[str, float]] = []
        self.at: dict[float, Callable[[], None]] = {}
        self.precedence = Precedence(lambda: self.now)
        monkeypatch.setattr(asyncio, "sleep", self._sleep)

    async def _sleep(self, seconds: float) -> None:
        self.now += seconds
        for moment in [moment for moment in self.at if moment <= self.now]:
            self.at.pop(moment)()
        await _yield(0)

    def answered(self, name: str) -> Coroutine[Any, Any, None]:
        async def account() -> None:
            self.accounted.append((name, self.now - 100))

        return self.precedence.after_calls(account)


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(monkeypatch)


def _call() -> Call:
    return Call("/v1/chat/completions", "chat", None, {})


def test_a_quiet_proxy_accounts_at_once(scene: Scene) -> None:
    asyncio.run(scene.answered("first"))
    assert scene.accounted == [("first", pytest.approx(0.002))]


def test_a_client_that_asks_one_question_after_the_other_sends_the_next_one_first(scene: Scene) -> None:
    scene.precedence.begin()
    scene.precedence.hand_over(call := _call())
    scene.at[100.001] = lambda: scene.precedence.end(call)
    asyncio.run(scene.answered("first"))
    (_, when), *_ = scene.accounted
    assert 0.011 <= when < 0.02


def test_a_call_on_its_way_goes_first_and_is_over_only_once(scene: Scene) -> None:
    call = _call()
    scene.precedence.begin()

    def over() -> None:
        scene.precedence.hand_over(call)
        scene.precedence.end(call)

    scene.at[100.2] = over
    asyncio.run(scene.answered("first"))
    (_, when), *others = scene.accounted
    assert not others
    assert 0.2 <= when < 0.23
    # had the second word counted, this one would go unseen
    scene.precedence.begin()
    asyncio.run(scene.answered("second"))
    assert scene.accounted[1][1] - when >= 0.25


def test_one_that_never_is_quiet_accounts_within_a_quarter_of_a_second_and_in_order(scene: Scene) -> None:
    scene.precedence.begin()

    async def three() -> None:
        await asyncio.gather(*(scene.answered(name) for name in ("first", "second", "third")))

    asyncio.run(three())
    assert [name for name, _ in scene.accounted] == ["first", "second", "third"]
    assert all(0.25 <= when < 0.27 for _, when in scene.accounted)


def test_at_the_end_nothing_waits_and_everything_was_accounted_for(scene: Scene) -> None:
    scene.precedence.begin()

    async def end() -> None:
        waiting = [asyncio.ensure_future(scene.answered(name)) for name in ("first", "second")]
        await _yield(0)
        await scene.precedence.drain()
        assert [name for name, _ in scene.accounted] == ["first", "second"]
        await asyncio.gather(*waiting)

    asyncio.run(end())
    assert all(when < 0.1 for _, when in scene.accounted)


def test_an_error_of_the_accounting_is_told_and_the_next_one_goes_on(scene: Scene) -> None:
    async def broken() -> None:
        raise ConnectionError

    async def both() -> None:
        with pytest.raises(ConnectionError):
            await scene.precedence.after_calls(broken)
        await scene.answered("next")
        await scene.precedence.drain()

    asyncio.run(both())
    assert [name for name, _ in scene.accounted] == ["next"]


def test_one_accounting_begins_after_the_other_but_not_behind_one_that_hangs(scene: Scene) -> None:
    told: list[str] = []
    answer = asyncio.Event()

    async def hanging() -> None:
        told.append("hangs")
        await answer.wait()
        told.append("answered")

    async def slow() -> None:
        told.append("begins")
        for _ in range(10):
            await _yield(0)
        told.append("ends")

    async def all_of_them() -> None:
        first, *others = [asyncio.ensure_future(scene.precedence.after_calls(one)) for one in (hanging, slow, slow)]
        await asyncio.gather(*others)
        answer.set()
        await first

    asyncio.run(all_of_them())
    assert told == ["hangs", "begins", "ends", "begins", "ends", "answered"]


def test_what_has_waited_for_long_is_accounted_for_without_its_turn(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precedence, "_MOST_SECONDS", 0.05)
    monkeypatch.setattr(precedence, "_ALONE_SECONDS", 3600)
    others = asyncio.Event()

    async def until_the_others_are_done() -> None:
        await others.wait()

    async def all_of_them() -> None:
        first = asyncio.ensure_future(scene.precedence.after_calls(until_the_others_are_done))
        async with asyncio.timeout(60):
            await asyncio.gather(*(scene.answered(name) for name in ("second", "third")))
        others.set()
        await first

    asyncio.run(all_of_them())
    assert [name for name, _ in scene.accounted] == ["second", "third"]
