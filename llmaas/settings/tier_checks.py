"""What tiers promise of each other: who pays by the month is served first when there is not room for all."""

from collections.abc import Iterator

from llmaas.settings.draft import Draft
from llmaas.settings.errors import Problem
from llmaas.settings.service import Tier


def monthly_billing_comes_first(draft: Draft) -> Iterator[Problem]:
    """Where both are sold, every monthly tier has a higher priority than every prepaid one."""
    tiers = [item for item in draft.entries("tiers", Tier) if item.sure("billing", "priority")]
    billings = {item.value.billing for item in tiers}
    if billings != {"monthly", "prepaid"}:
        return
    for item in tiers:
        billing, priority = item.value.billing, item.value.priority
        wanted = "high" if billing == "monthly" else "normal"
        if priority != wanted:
            yield Problem(
                f"{item.path}.priority",
                f"{priority!r} in a {billing} tier; calls of monthly tiers come before those of prepaid ones,"
                f" so give {wanted}",
            )


CHECKS = (monthly_billing_comes_first,)
