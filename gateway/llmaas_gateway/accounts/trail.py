"""What the audit holds on one tenant: exported with the rest, and its personal part erased with the rest."""

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from llmaas_gateway.audit.export import NoSuchTenantError, Span, export_lines
from llmaas_gateway.audit.log import AuditLog
from llmaas_gateway.audit.removal import erase
from llmaas_gateway.audit.signing import Signer

_BEFORE_ALL: Final = datetime(2020, 1, 1, tzinfo=UTC)


class Trail(Protocol):
    """The audit's records of one tenant."""

    async def erase(self, tenant: str, actor: str) -> None:
        """Remove their personal part, and record that; a second time changes nothing."""

    def export(self, tenant: str) -> AsyncIterator[str]:
        """All of them, a JSON object a line."""
        ...


@dataclass(frozen=True)
class AuditTrail:
    """The records in PostgreSQL, signed where something is taken away."""

    log: AuditLog
    signer: Signer
    now: Callable[[], datetime]

    async def erase(self, tenant: str, actor: str) -> None:
        """Remove their personal part, and record that; a second time changes nothing."""
        async with self.log.connect() as connection:
            # Nothing there: an erasure that failed later on is being repeated.
            with contextlib.suppress(LookupError):
                await erase(connection, self.signer, tenant, actor=actor, now=self.now())

    async def export(self, tenant: str) -> AsyncIterator[str]:
        """All of them, a JSON object a line."""
        span = Span(_BEFORE_ALL, self.now() + timedelta(seconds=1), tenant)
        async with self.log.connect() as connection:
            lines = export_lines(connection, self.signer, span)
            while True:
                try:
                    line = await anext(lines)
                except (StopAsyncIteration, NoSuchTenantError):
                    return
                yield line
