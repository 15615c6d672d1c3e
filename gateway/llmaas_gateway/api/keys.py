"""Routes of keys, for operators."""

from typing import Any

from fastapi import APIRouter

from llmaas_gateway.accounts.keys import KeyOrder
from llmaas_gateway.api.errors import Route
from llmaas_gateway.api.operators import operator
from llmaas_gateway.api.services import Services
from llmaas_gateway.api.shapes import NewKey


def keys_router(services: Services) -> APIRouter:
    """``/llmaas/tenants/.../keys`` and everything below ``/llmaas/keys``."""
    router = APIRouter(route_class=Route)
    who: Any = operator(services.authenticate)

    @router.post("/llmaas/tenants/{tenant}/keys", status_code=201)
    async def create_key(tenant: str, body: NewKey, actor: str = who) -> dict[str, Any]:
        order = KeyOrder(
            name=body.name,
            team=body.team,
            models=body.models,
            duration=body.duration,
            budget=body.budget,
            requests_per_minute=body.requests_per_minute,
        )
        made = await services.keys.create(actor, tenant, order)
        return {**made.record, "key": made.text}

    @router.post("/llmaas/keys/{key}/rotate", status_code=201)
    async def rotate(key: str, actor: str = who) -> dict[str, Any]:
        made = await services.keys.rotate(actor, key)
        return {**made.record, "key": made.text}

    @router.post("/llmaas/keys/{key}/revoke")
    async def revoke(key: str, actor: str = who) -> dict[str, Any]:
        return await services.keys.revoke(actor, key)

    return router
