"""Routes of tenants and their teams, for operators."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import StreamingResponse

from llmaas_gateway.accounts.account import Account
from llmaas_gateway.accounts.database import Row
from llmaas_gateway.api.errors import Route
from llmaas_gateway.api.operators import operator
from llmaas_gateway.api.services import Services
from llmaas_gateway.api.shapes import (
    Confirmation,
    NewBudget,
    NewTeam,
    NewTenant,
    NewTier,
    Payment,
    TakingBack,
    euros,
    euros_if_given,
    payment_shape,
    tenant_shape,
)
from llmaas_gateway.ledger.limits import Kind, Limit, Window


def tenants_router(services: Services) -> APIRouter:  # noqa: C901 - one small function a route
    """``/llmaas/tiers``, and below ``/llmaas/tenants`` what is neither a key nor an invoice."""
    router = APIRouter(route_class=Route)
    who: Any = operator(services.authenticate)
    administration = services.administration

    async def shown(tenant: str) -> dict[str, Any]:
        return (await _with_spending(services, [await administration.find(tenant)]))[0]

    async def after(account: Account) -> dict[str, Any]:
        return await shown(account.tenant)

    async def once(response: Response, word: str, account: Account, before: datetime | None) -> dict[str, Any]:
        """The tenant after what is done once; of what was done before, when, by that word."""
        if before is None:
            return await after(account)
        response.status_code = 200
        return {**await after(account), word: before.isoformat()}

    @router.get("/llmaas/tiers")
    async def tiers(_: str = who) -> list[dict[str, Any]]:
        return [tier.model_dump(mode="json") for tier in services.tiers.values()]

    @router.get("/llmaas/tenants")
    async def listed(_: str = who) -> list[dict[str, Any]]:
        return await _with_spending(services, await administration.list())

    @router.post("/llmaas/tenants", status_code=201)
    async def create(body: NewTenant, actor: str = who) -> dict[str, Any]:
        made = await administration.create(
            actor,
            body.name,
            body.tier,
            models=body.models,
            top_up_nano_eur=euros_if_given("first_payment_eur", body.first_payment_eur),
            budget_nano_eur=euros_if_given("budget_eur", body.budget_eur),
        )
        return await after(made)

    @router.get("/llmaas/tenants/{tenant}")
    async def one(tenant: str, _: str = who) -> dict[str, Any]:
        return await shown(tenant)

    @router.put("/llmaas/tenants/{tenant}/tier")
    async def set_tier(tenant: str, body: NewTier, actor: str = who) -> dict[str, Any]:
        return await after(await administration.set_tier(actor, tenant, body.tier))

    @router.put("/llmaas/tenants/{tenant}/budget")
    async def set_budget(tenant: str, body: NewBudget, actor: str = who) -> dict[str, Any]:
        amount = euros_if_given("budget_eur", body.budget_eur)
        return await after(await administration.set_budget(actor, tenant, amount))

    @router.post("/llmaas/tenants/{tenant}/suspend")
    async def suspend(tenant: str, actor: str = who) -> dict[str, Any]:
        return await after(await administration.suspend(actor, tenant))

    @router.post("/llmaas/tenants/{tenant}/resume")
    async def resume(tenant: str, actor: str = who) -> dict[str, Any]:
        return await after(await administration.resume(actor, tenant))

    @router.post("/llmaas/tenants/{tenant}/payments", status_code=201)
    async def top_up(tenant: str, body: Payment, response: Response, actor: str = who) -> dict[str, Any]:
        amount = euros("amount_eur", body.amount_eur)
        return await once(
            response, "booked_before", *await administration.top_up(actor, tenant, amount, body.reference)
        )

    @router.get("/llmaas/tenants/{tenant}/payments")
    async def payments(tenant: str, _: str = who) -> list[dict[str, Any]]:
        return [payment_shape(row) for row in await administration.payments(tenant)]

    @router.post("/llmaas/tenants/{tenant}/payments/taken-back", status_code=201)
    async def take_back(tenant: str, body: TakingBack, response: Response, actor: str = who) -> dict[str, Any]:
        done = await administration.take_back(actor, tenant, body.payment, body.reference)
        return await once(response, "taken_back_before", *done)

    @router.post("/llmaas/tenants/{tenant}/teams", status_code=201)
    async def add_team(tenant: str, body: NewTeam, actor: str = who) -> dict[str, Any]:
        team = await administration.create_team(actor, tenant, body.name, models=body.models, budget=body.budget)
        return {"team": team, "name": body.name}

    @router.get("/llmaas/tenants/{tenant}/export")
    async def export(tenant: str, actor: str = who) -> StreamingResponse:
        pieces = services.personal_data.export(actor, tenant)
        first = await anext(pieces)  # an unknown tenant is told before the answer begins

        async def whole() -> AsyncIterator[str]:
            yield first
            async for piece in pieces:
                yield piece

        return StreamingResponse(whole(), media_type="application/json")

    @router.post("/llmaas/tenants/{tenant}/erase")
    async def erase(tenant: str, body: Confirmation, actor: str = who) -> dict[str, Any]:
        return {"tenant": await services.personal_data.erase(actor, tenant, body.confirm), "state": "erased"}

    return router


async def _with_spending(services: Services, rows: list[Row]) -> list[dict[str, Any]]:
    """Tenants with what is settled of their credit and in this month, as far as PostgreSQL knows."""
    at = services.now().astimezone(services.zone)
    windows = {"spent_credit": ("credit", Window.NONE), "spent_month": ("spend-month", Window.MONTH)}

    def key(tenant: str, field: str) -> str:
        name, window = windows[field]
        return Limit(name, f"tenant:{tenant}", Kind.MONEY, window, 0).counter_key(services.ledger.prefix, at)

    keys = [key(row["tenant"], field) for row in rows for field in windows]
    found = await services.database.read("SELECT key, settled FROM ledger.counter WHERE key = ANY(%s)", [keys])
    settled = {counter["key"]: counter["settled"] for counter in found}
    return [
        tenant_shape({**row, **{f"{field}_nano_eur": settled.get(key(row["tenant"], field), 0) for field in windows}})
        for row in rows
    ]
