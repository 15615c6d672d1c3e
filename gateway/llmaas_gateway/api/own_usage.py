"""What a tenant sees of itself with its own key: sums, credit, and single calls; never a word of any of them."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, HTTPException, Query

from llmaas_gateway.accounts.account import TENANT, AccountError, Billing, tier_of
from llmaas_gateway.api.errors import Route
from llmaas_gateway.api.services import OWN_ROUTES, Caller, Services
from llmaas_gateway.api.shapes import call_shape, group_shape, period
from llmaas_gateway.invoices.usage import history, shown, usage
from llmaas_gateway.ledger.limits import Kind, Limit, Window
from llmaas_gateway.money import format_euros

_GROUPINGS: Final = {"team", "key", "model", "day", "month"}

From = Annotated[str | None, Query(alias="from")]
To = Annotated[str | None, Query(alias="to")]


def own_usage_router(services: Services) -> APIRouter:
    """``/v1/usage`` and ``/v1/usage/requests``."""
    router = APIRouter(route_class=Route)
    caller_of: Any = Depends(services.authenticate)

    @router.get(OWN_ROUTES[0])
    async def own(
        start: From = None, end: To = None, model: str | None = None, by: str = "model", caller: Caller = caller_of
    ) -> dict[str, Any]:
        account = await services.directory.account(_tenant(caller))
        if set(by.split(",")) - _GROUPINGS:
            raise AccountError(f"by: {by!r}; group by one or more of {', '.join(sorted(_GROUPINGS))}")
        span = period(start, end, services.zone, services.now())
        groups = await usage(services.database, span, tenant=account.tenant, model=model, by=by.split(","))
        answer: dict[str, Any] = {
            "object": "usage",
            "from": span.start,
            "to": span.end,
            "time_zone": span.zone,
            "tier": account.tier,
            "cost_eur": format_euros(sum(group["nano_eur"] for group in groups)),
            "data": [group_shape(group) for group in groups],
        }
        if tier_of(services.tiers, account.tier).billing is Billing.PREPAID:
            limit = Limit("credit", f"tenant:{account.tenant}", Kind.MONEY, Window.NONE, account.credit_nano_eur)
            settled, held = await services.ledger.used(limit, services.now())
            answer["credit_left_eur"] = format_euros(account.credit_nano_eur - settled)
            answer["credit_held_eur"] = format_euros(held)
        return answer

    @router.get(OWN_ROUTES[1])
    async def calls(  # noqa: PLR0913, PLR0917 - each is a parameter of the URL
        start: From = None,
        end: To = None,
        model: str | None = None,
        scope: Literal["tenant", "key"] = "tenant",
        limit: int = 100,
        before: str | None = None,
        caller: Caller = caller_of,
    ) -> dict[str, Any]:
        account = await services.directory.account(_tenant(caller))
        now = services.now()
        span = shown(period(start, end, services.zone, now), now, services.calls_shown)
        found = await history(
            services.database,
            span,
            account.tenant,
            key=caller.api_key if scope == "key" else None,
            model=model,
            most=limit,
            before=_place(before),
        )
        last = found[-1] if len(found) == limit else None
        following = f"{last['began_at'].isoformat()}/{last['request_id']}" if last else None
        data = [call_shape(row) for row in found]
        return {"object": "list", "from": span.start, "to": span.end, "data": data, "next": following}

    return router


def _tenant(caller: Caller) -> str:
    tenant = (caller.team_metadata or {}).get(TENANT)
    if not tenant:
        raise HTTPException(403, "this key belongs to no tenant")
    return str(tenant)


def _place(before: str | None) -> tuple[datetime, str] | None:
    """The place in the list that ``next`` of the page before names."""
    if before is None:
        return None
    moment, _, identity = before.partition("/")
    try:
        return datetime.fromisoformat(moment), identity
    except ValueError:
        raise AccountError(f"before: {before!r} is not the 'next' of a page") from None
