"""Routes beside LiteLLM's own: administration of tenants below ``/llmaas``, a tenant's own usage at ``/v1/usage``."""

from fastapi import FastAPI

from llmaas_gateway.api.keys import keys_router
from llmaas_gateway.api.money import money_router
from llmaas_gateway.api.own_usage import own_usage_router
from llmaas_gateway.api.services import Services, litellm_authentication
from llmaas_gateway.api.tenants import tenants_router

__all__ = ["Services", "include", "litellm_authentication"]


def include(app: FastAPI, services: Services) -> None:
    """Add the routes to an application, ahead of its own: LiteLLM's catch-all routes must not swallow them."""
    before = len(app.router.routes)
    for router in (tenants_router, keys_router, money_router, own_usage_router):
        app.include_router(router(services), include_in_schema=False)
    routes = app.router.routes
    routes[:] = [*routes[before:], *routes[:before]]
