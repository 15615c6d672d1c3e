"""What is allowed while the ledger is away: each tenant so many euros, counted in this process."""

from collections.abc import Mapping

from llmaas_gateway.accounts.account import Tier


class Allowances:
    """Euros that tenants may spend without the ledger, shared out evenly among the replicas of the proxy."""

    def __init__(self, replicas: int) -> None:
        """Takes the number of replicas; each has its part and none knows of the others."""
        self._replicas = replicas
        self._taken: dict[str, int] = {}

    def take(self, tenant: str, tier: Tier, nano_eur: int) -> bool:
        """Let a call in that costs at most so much; False where the tier refuses, or its allowance is used up."""
        taken = self._taken.get(tenant, 0)
        allowed = tier.nano_eur_while_ledger_is_away // self._replicas
        # A call that costs nothing needs an allowance all the same: its other limits are not counted now.
        if allowed == 0 or taken + nano_eur > allowed:
            return False
        self._taken[tenant] = taken + nano_eur
        return True

    def correct(self, tenant: str, promised: int, cost: int) -> None:
        """A call cost less than was promised."""
        if tenant in self._taken:
            self._taken[tenant] -= promised - min(promised, cost)

    def forget(self) -> None:
        """The ledger is back and knows of everything that was spent meanwhile."""
        self._taken.clear()

    @property
    def taken(self) -> Mapping[str, int]:
        """Nano-euros by tenant."""
        return self._taken
