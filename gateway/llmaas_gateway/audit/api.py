"""Routes of the audit below ``/llmaas/audit``, for operators: export, the public key, and acts done elsewhere."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, FastAPI, HTTPException, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from llmaas_gateway.api.errors import Route
from llmaas_gateway.api.operators import operator
from llmaas_gateway.api.services import Authenticate
from llmaas_gateway.audit.export import NoSuchTenantError, Span, export_lines
from llmaas_gateway.audit.log import AuditLog
from llmaas_gateway.audit.records import PLATFORM, Act
from llmaas_gateway.audit.signing import Signer

# Acts that happen on a bastion and not in the gateway; all others are recorded where they are done.
_ELSEWHERE: Final = r"^(deployment|prices|catalogue|hosts|secrets|certificates)\.[a-z_]+$"


@dataclass(frozen=True)
class AuditServices:
    """The parts behind the routes; ``authenticate`` is a dependency of FastAPI that checks the key of a request."""

    log: AuditLog
    signer: Signer
    authenticate: Authenticate


class ActElsewhere(BaseModel):
    """An act that an operator reports from a bastion."""

    model_config = ConfigDict(extra="forbid")

    action: str = Field(pattern=_ELSEWHERE)
    object: str = Field(min_length=1, max_length=200)
    details: dict[str, Any] = Field(default_factory=dict)


def include(app: FastAPI, services: AuditServices) -> None:
    """Add the routes to an application, ahead of its own: LiteLLM's catch-all routes must not swallow them."""
    before = len(app.router.routes)
    app.include_router(audit_router(services), include_in_schema=False)
    routes = app.router.routes
    routes[:] = [*routes[before:], *routes[:before]]


def audit_router(services: AuditServices) -> APIRouter:
    """Everything below ``/llmaas/audit``."""
    router = APIRouter(route_class=Route)
    who: Any = operator(services.authenticate)

    @router.get("/llmaas/audit/key")
    async def key(_: str = who) -> dict[str, str]:
        return {"id": services.signer.key, "public_key": services.signer.public_pem()}

    @router.post("/llmaas/audit/acts", status_code=201)
    async def record(body: ActElsewhere, actor: str = who) -> dict[str, Any]:
        act = Act(actor, body.action, body.object, datetime.now(UTC), details=body.details)
        place = (await services.log.append([act]))[0]
        return {"stream": place.stream, "number": place.number, "hash": place.hash}

    @router.get("/llmaas/audit/export")
    async def export(
        since: Annotated[datetime, Query()],
        until: Annotated[datetime, Query()],
        tenant: Annotated[str | None, Query(max_length=200)] = None,
        actor: str = who,
    ) -> StreamingResponse:
        try:
            span = Span(_aware(since), _aware(until), tenant)
        except ValueError as error:
            raise HTTPException(400, str(error)) from None
        lines = _lines(services, span)
        try:
            first = await anext(lines)
        except NoSuchTenantError as error:
            raise HTTPException(404, str(error)) from None
        # In the stream of whom it shows; it will be in the next export.
        details = {"since": span.since.isoformat(), "until": span.until.isoformat(), "all": tenant is None}
        act = Act(actor, "audit.export", "audit", datetime.now(UTC), tenant or PLATFORM, details)
        await services.log.append([act])
        return StreamingResponse(_ended(first, lines), media_type="application/x-ndjson")

    return router


def _aware(moment: datetime) -> datetime:
    """Days and times without a zone are UTC, as the months of the files are."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


async def _lines(services: AuditServices, span: Span) -> AsyncIterator[str]:
    async with services.log.connect() as connection:
        async for line in export_lines(connection, services.signer, span):
            yield line


async def _ended(first: str, lines: AsyncIterator[str]) -> AsyncIterator[str]:
    """Each line with its end, and at last one by which a reader knows that nothing was cut."""
    yield first + "\n"
    async for line in lines:
        yield line + "\n"
    yield '{"end":true}\n'
