"""What the routes need: the parts of the gateway that keep accounts, and LiteLLM's own check of keys."""

import importlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol
from zoneinfo import ZoneInfo

from redis.asyncio import Redis

from llmaas_gateway.accounts.account import Tier
from llmaas_gateway.accounts.administration import Administration, Audit
from llmaas_gateway.accounts.database import Database
from llmaas_gateway.accounts.directory import Directory
from llmaas_gateway.accounts.keys import Keys
from llmaas_gateway.accounts.litellm import LiteLLM
from llmaas_gateway.accounts.personal_data import PersonalData
from llmaas_gateway.accounts.trail import Trail
from llmaas_gateway.invoices.counters import Counters
from llmaas_gateway.invoices.issuing import Invoices
from llmaas_gateway.invoices.nightly import Nightly
from llmaas_gateway.invoices.reconcile import Reconciler
from llmaas_gateway.invoices.removal import AccountsRemoval, AccountsSettings
from llmaas_gateway.ledger.ledger import Ledger
from llmaas_gateway.prices import PriceBook

# Reached with a tenant's own key, so LiteLLM must know them as routes of its API.
OWN_ROUTES: Final = ("/v1/usage", "/v1/usage/requests")


class Caller(Protocol):
    """Who a key belongs to, as LiteLLM's check says it."""

    user_role: Any
    api_key: str | None
    team_metadata: Mapping[str, Any] | None


Authenticate = Callable[..., Awaitable[Caller]]


def litellm_authentication() -> Authenticate:
    """LiteLLM's own check of keys, which lets tenants' keys reach their usage from now on."""
    routes = importlib.import_module("litellm.proxy._types").LiteLLMRoutes.openai_routes.value
    routes.extend(route for route in OWN_ROUTES if route not in routes)
    check: Authenticate = importlib.import_module("litellm.proxy.auth.user_api_key_auth").user_api_key_auth
    return check


def utc_now() -> datetime:
    """Now, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Services:
    """The parts behind the routes.

    Attributes:
        tiers: by name.
        book: the price book.
        database: tenants and records.
        directory: that tells the replicas what changed.
        redis: the ledger's.
        ledger: the counters.
        litellm: its administration API, with the master key.
        audit: that records administrative acts.
        authenticate: a dependency of FastAPI that checks the key of a request.
        trail: the audit's records of one tenant, for export and erasure.
        vat_percent: a declared rate as a decimal string; None where VAT is not the invoices' matter.
        calls_shown: how long a tenant sees its single calls, the period of their metadata.
        accounts: how long the accounts are kept.
        now: aware.
    """

    tiers: Mapping[str, Tier]
    book: PriceBook
    database: Database
    directory: Directory
    redis: Redis
    ledger: Ledger
    litellm: LiteLLM
    audit: Audit
    authenticate: Authenticate
    trail: Trail | None = None
    vat_percent: str | None = None
    calls_shown: timedelta = timedelta(days=365)
    accounts: AccountsSettings = field(default_factory=AccountsSettings)
    now: Callable[[], datetime] = utc_now

    def __post_init__(self) -> None:
        """Refuse a tier whose factor the price book does not have, before a call of it fails."""
        for tier in self.tiers.values():
            self.book.factor(tier.price_factor)

    @property
    def zone(self) -> ZoneInfo:
        """The time zone of days and months."""
        return ZoneInfo(self.book.time_zone)

    @property
    def administration(self) -> Administration:
        """Acts on tenants."""
        return Administration(self.tiers, self.database, self.directory, self.litellm, self.audit, self.now)

    @property
    def keys(self) -> Keys:
        """Acts on keys."""
        return Keys(self.administration)

    @property
    def personal_data(self) -> PersonalData:
        """Export and erasure."""
        return PersonalData(self.administration, self.trail)

    @property
    def invoices(self) -> Invoices:
        """Drafts, issued invoices, replay."""
        return Invoices(
            self.database,
            self.redis,
            self.ledger.records_key,
            self.book,
            self.audit,
            self.now,
            vat_percent=self.vat_percent,
        )

    @property
    def reconciler(self) -> Reconciler:
        """The comparison of everything that counts money."""
        counters = Counters(self.redis, self.ledger, self.database, self.zone)
        return Reconciler(
            counters,
            self.database,
            self.directory,
            self.redis,
            self.ledger.records_key,
            self.litellm,
            self.audit,
            self.now,
        )

    @property
    def nightly(self) -> Nightly:
        """The same every night; to be run beside the proxy."""
        return Nightly(self.reconciler, self.database, self.zone, self.now)

    @property
    def removal(self) -> AccountsRemoval:
        """The end of the accounts' legal period; to be run beside the proxy."""
        return AccountsRemoval(
            self.database, self.redis, self.ledger.records_key, self.audit, self.zone, self.accounts, self.now
        )
