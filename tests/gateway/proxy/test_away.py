"""What a tenant may spend while the ledger is away is never exceeded, however often that is. Against a real Redis."""

from pathlib import Path

from llmaas_gateway.accounts.account import Tier
from llmaas_gateway.ledger.ledger import LedgerUnavailableError
from llmaas_gateway.proxy.away import Allowances

from .stack import TIERS
from .test_settlement import COST, Scene, play_scene

TRUSTED = Tier.model_validate(next(tier for tier in TIERS if tier["name"] == "trusted"))


def test_an_allowance_is_shared_out_among_the_replicas_and_never_exceeded() -> None:
    allowances = Allowances(replicas=4)
    assert not allowances.take("a", TRUSTED, 250_000_001)
    assert allowances.take("a", TRUSTED, 250_000_000)
    assert not allowances.take("a", TRUSTED, 1)
    allowances.give_back("a", 150_000_000)
    assert allowances.take("a", TRUSTED, 150_000_000)
    assert not allowances.take("a", TRUSTED, 1)
    assert allowances.take("b", TRUSTED, 1)
    allowances.give_back("a", 250_000_000)
    assert allowances.take("a", TRUSTED, 250_000_000)


class Absences:
    """A ledger that goes away and comes back, and what is taken of the allowance."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        scene.tier = TRUSTED.name

    def leave(self) -> None:
        async def away(_: str) -> None:
            raise LedgerUnavailableError("away")

        self._scene.ledger.before = self._scene.ledger.after = away

    async def come_back(self) -> None:
        self._scene.ledger.before = self._scene.ledger.after = None
        await self._scene.settlement.turn()

    @property
    def taken(self) -> int:
        return self._scene.allowances._taken.get(self._scene.tenant, 0)  # noqa: SLF001


def test_a_call_that_outlasts_an_absence_counts_in_the_next(redis_port: int, tmp_path: Path) -> None:
    async def action(scene: Scene) -> None:
        ledger = Absences(scene)
        ledger.leave()
        long = await scene.admit()
        most = ledger.taken
        assert most > COST
        await ledger.come_back()
        # It runs on, and the ledger does not know of it.
        assert ledger.taken == most
        ledger.leave()
        other = await scene.admit()
        await scene.settlement.settle(long, "success")
        assert ledger.taken == COST + most
        await ledger.come_back()
        assert ledger.taken == most
        await scene.settlement.settle(other, "success")
        assert ledger.taken == 0

    play_scene(redis_port, tmp_path, action)


def test_what_is_settled_twice_is_given_back_once(redis_port: int, tmp_path: Path) -> None:
    async def action(scene: Scene) -> None:
        ledger = Absences(scene)
        ledger.leave()
        first, second = await scene.admit(), await scene.admit()
        await scene.settlement.settle(first, "success")
        await ledger.come_back()
        most = ledger.taken
        scene.settlement.redis_restarted()
        ledger.leave()
        await scene.settlement.settle(second, "success")
        assert ledger.taken == COST < most
        await ledger.come_back()
        assert ledger.taken == 0
        assert sorted(await scene.settled()) == sorted([first.identity, second.identity])

    play_scene(redis_port, tmp_path, action)
