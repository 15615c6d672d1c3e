"""What is allowed while the ledger is away: each tenant so many euros, counted in this process.

What counts is what the ledger does not know: calls that it did not admit, until they are settled there. So one that
outlasts an absence counts in the next as well.
"""

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

    def give_back(self, tenant: str, nano_eur: int) -> None:
        """Of what was taken: a call costs so much less, or the ledger knows of it now."""
        left = self._taken.get(tenant, 0) - nano_eur
        if left:
            self._taken[tenant] = left
        else:
            self._taken.pop(tenant, None)
