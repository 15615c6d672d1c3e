"""Routes of usage, invoices, their replay and the reconciliation, for operators."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query

from llmaas_gateway.accounts.account import AccountError
from llmaas_gateway.api.errors import Route
from llmaas_gateway.api.operators import operator
from llmaas_gateway.api.services import Services
from llmaas_gateway.api.shapes import group_shape, invoice_shape, period
from llmaas_gateway.invoices.months import Month
from llmaas_gateway.invoices.usage import usage
from llmaas_gateway.prices import ANY_MODEL


def money_router(services: Services) -> APIRouter:
    """``/llmaas/usage``, ``/llmaas/tenants/.../invoices/...`` and ``/llmaas/reconciliation``."""
    router = APIRouter(route_class=Route)
    who: Any = operator(services.authenticate)

    @router.get("/llmaas/usage")
    async def used(
        tenant: str | None = None,
        model: str | None = None,
        start: Annotated[str | None, Query(alias="from")] = None,
        end: Annotated[str | None, Query(alias="to")] = None,
        by: str = "tenant,model",
        _: str = who,
    ) -> dict[str, Any]:
        names = {row["tenant"]: row["name"] for row in await services.administration.list()}
        chosen = None if tenant is None else (await services.administration.find(tenant))["tenant"]
        span = period(start, end, services.zone, services.now())
        groups = await usage(services.database, span, tenant=chosen, model=model, by=by.split(","))
        if not groups:
            await _check_model(services, model)
        shaped = [
            {**group_shape(g), **({"name": names.get(g["tenant"])} if "tenant" in g else {})} for g in groups
        ]  # fmt: skip
        return {"from": span.start, "to": span.end, "time_zone": span.zone, "groups": shaped}

    @router.get("/llmaas/tenants/{tenant}/invoices/{month}")
    async def draft(tenant: str, month: str, _: str = who) -> dict[str, Any]:
        """The invoice as it was issued, else as it would be now."""
        row, chosen = await services.administration.find(tenant), Month.parse(month)
        issued = await services.invoices.issued(row["tenant"], chosen)
        if issued is not None:
            return invoice_shape(issued.invoice.document(), row["name"], draft=False, issued_at=issued.issued_at)
        invoice = await services.invoices.draft(row["tenant"], chosen)
        return invoice_shape(invoice.document(), row["name"], draft=True, issued_at=None)

    @router.post("/llmaas/tenants/{tenant}/invoices/{month}")
    async def issue(tenant: str, month: str, actor: str = who) -> dict[str, Any]:
        row, chosen = await services.administration.find(tenant), Month.parse(month)
        issued = await services.invoices.issue(actor, row["tenant"], chosen)
        return invoice_shape(issued.invoice.document(), row["name"], draft=False, issued_at=issued.issued_at)

    @router.get("/llmaas/tenants/{tenant}/invoices/{month}/replay")
    async def replay(tenant: str, month: str, _: str = who) -> dict[str, Any]:
        row, chosen = await services.administration.find(tenant), Month.parse(month)
        replayed, differences = await services.invoices.replay(row["tenant"], chosen)
        plain = {name: value for name, value in asdict(replayed).items() if name != "wrong"}
        return {"tenant": row["tenant"], "month": month, **plain, "differences": differences}

    @router.get("/llmaas/reconciliation")
    async def reconcile(actor: str = who) -> dict[str, Any]:
        return asdict(await services.reconciler.run_alone(actor))

    return router


async def _check_model(services: Services, model: str | None) -> None:
    """Refuse a name that nobody knows: a typing mistake must not look like no usage.

    Not asked are the records: there is no index for it, and there may be thousands of millions.
    """
    if model is None or model in {price.model for price in services.book.prices} - {ANY_MODEL}:
        return
    served = await services.litellm.models()
    if model not in served:
        text = f"model: {model!r} is not served, has no price of its own, and no call in this time"
        raise AccountError(f"{text}; there are {', '.join(sorted(served))}")
