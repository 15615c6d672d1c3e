"""What the command line asks of LiteLLM's administration API, with its errors in plain words."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from typing import Any, Final, Self

import httpx
from llmaas_gateway.money import format_euros

from llmaas.admin.calls import AdminError, Calls, NotThereError
from llmaas.admin.gateway import Gateway

PAGE_SIZE: Final = 100


@dataclass(frozen=True)
class Tenant:
    """A customer: a team of LiteLLM. ``models`` empty means every model of the catalogue.

    What follows ``spend_eur``, which is of this month then, is known only where the gateway is at work.
    """

    id: str
    name: str
    models: tuple[str, ...]
    requests_per_minute: int | None
    budget_eur: Decimal | None
    spend_eur: Decimal
    tier: str | None = None
    state: str | None = None
    credit_left_eur: Decimal | None = None


@dataclass(frozen=True)
class KeyRecord:
    """A key as it is stored: its hash, never the key. ``models`` empty means every model of its tenant."""

    id: str
    name: str
    tenant_id: str
    models: tuple[str, ...]
    expires: datetime | None
    requests_per_minute: int | None
    budget_eur: Decimal | None
    spend_eur: Decimal


@dataclass(frozen=True)
class NewKey:
    """A key that was just made; the only time its text is seen."""

    key: str
    record: KeyRecord


@dataclass(frozen=True)
class KeyLimits:
    """What a key or tenant may do; None or empty means no limit of its own.

    Attributes:
        budget_eur: a decimal string.
        budget_period: when the budget begins anew: ``minute``, ``hour``, ``day`` or ``month`` of the calendar with the
            gateway, a duration such as ``30d`` with a LiteLLM that has none.
    """

    models: tuple[str, ...] = ()
    requests_per_minute: int | None = None
    budget_eur: str | None = None
    budget_period: str | None = None

    def fields(self) -> dict[str, Any]:
        """As LiteLLM names them."""
        given = {
            "models": list(self.models) or None,
            "rpm_limit": self.requests_per_minute,
            "max_budget": None if self.budget_eur is None else float(self.budget_eur),
            "budget_duration": self.budget_period,
        }
        return {name: value for name, value in given.items() if value is not None}

    def order(self) -> dict[str, Any]:
        """As the gateway names them."""
        given = {
            "models": list(self.models) or None,
            "requests_per_minute": self.requests_per_minute,
            "budget_eur": self.budget_eur,
            "budget_window": self.budget_period,
        }
        return {name: value for name, value in given.items() if value is not None}


class AdminClient:
    """The administration behind the private listener, with or without our gateway in LiteLLM; a context manager."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http
        self._call = Calls(http)

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self._http.close()

    @cached_property
    def gateway(self) -> Gateway | None:
        """The gateway's own routes; None where LiteLLM runs without it."""
        gateway = Gateway(self._call)
        try:
            gateway.tiers()
        except NotThereError:
            return None
        return gateway

    def with_gateway(self) -> Gateway:
        """The same where nothing can be done without it.

        Raises:
            AdminError: LiteLLM runs without it.
        """
        if self.gateway is None:
            raise AdminError("LiteLLM runs here without the gateway; tiers, usage and invoices need it")
        return self.gateway

    def tenants(self) -> tuple[Tenant, ...]:
        """All tenants by name, without those that were erased."""
        if self.gateway is not None:
            return tuple(_account(row) for row in self.gateway.tenants() if row["state"] != "erased")
        listed = self._call("GET", "/team/list")
        return tuple(sorted((_tenant(team) for team in listed), key=lambda tenant: tenant.name))

    def tenant(self, name: str) -> Tenant:
        """The tenant of that name; with the gateway also of that identifier.

        Raises:
            AdminError: there is none, or several.
        """
        if self.gateway is not None:
            return _account(self.gateway.tenant(name))
        found = [tenant for tenant in self.tenants() if tenant.name == name]
        if not found:
            raise AdminError(f"there is no tenant {name!r}; make it with: llmaas tenant create {name}")
        if len(found) > 1:
            ids = ", ".join(tenant.id for tenant in found)
            raise AdminError(f"{len(found)} tenants are called {name!r} ({ids}); remove all but one")
        return found[0]

    def create_tenant(
        self, name: str, limits: KeyLimits, *, tier: str | None = None, first_payment_eur: str | None = None
    ) -> Tenant:
        """Make a tenant; names are unique here, though LiteLLM would take one twice.

        Args:
            name: of the customer.
            limits: with the gateway the models and a budget of each month: the rest is the tier's matter. Without it
                all of them.
            tier: what it buys; with the gateway it must be given, without it there is none.
            first_payment_eur: a decimal string; without it, a prepaid tenant begins with what its tier costs.
        """
        if self.gateway is not None:
            return _account(self._create_account(name, limits, tier, first_payment_eur))
        if tier is not None or first_payment_eur is not None:
            raise AdminError("LiteLLM runs here without the gateway; it knows neither tiers nor payments")
        if any(tenant.name == name for tenant in self.tenants()):
            raise AdminError(f"tenant {name!r} exists already; names are unique")
        self._check_models(limits.models)
        body = {"team_alias": name, "metadata": {"made_by": "llmaas"}, **limits.fields()}
        return _tenant(self._call("POST", "/team/new", body))

    def _create_account(
        self, name: str, limits: KeyLimits, tier: str | None, first_payment_eur: str | None
    ) -> dict[str, Any]:
        gateway = self.with_gateway()
        if any(tenant.name == name for tenant in self.tenants()):
            raise AdminError(f"tenant {name!r} exists already; names are unique")
        if tier is None:
            tiers = ", ".join(str(known["name"]) for known in gateway.tiers())
            raise AdminError(f"a tenant has a tier; name one with --tier: {tiers}")
        if limits.requests_per_minute is not None:
            raise AdminError("requests per minute of a tenant are those of its tier; leave them out")
        if limits.budget_period not in {None, "month"}:
            raise AdminError(f"a tenant's budget begins anew each month, not each {limits.budget_period}")
        order = {
            "name": name,
            "tier": tier,
            "models": list(limits.models),
            "first_payment_eur": first_payment_eur,
            "budget_eur": limits.budget_eur,
        }
        return gateway.create_tenant({field: value for field, value in order.items() if value is not None})

    def list_keys(self, tenant: Tenant | None = None) -> tuple[KeyRecord, ...]:
        """All keys, or those of one tenant, in the order of their names; without their texts, which nobody has."""
        teams: list[str | None] = [None]
        if tenant is not None:
            teams = [tenant.id] if self.gateway is None else self.gateway.tenant(tenant.id)["teams"]
        found = [key for team in teams for key in self._keys_of(team)]
        return tuple(sorted(found, key=lambda key: key.name))

    def _keys_of(self, team: str | None) -> list[KeyRecord]:
        found: list[KeyRecord] = []
        page = total = 1
        while page <= total:
            query = {"return_full_object": "true", "page": str(page), "size": str(PAGE_SIZE)}
            if team is not None:
                query["team_id"] = team
            answer = self._call("GET", "/key/list", query=query)
            found += [_key(key) for key in answer["keys"]]
            total = int(answer.get("total_pages") or 1)
            page += 1
        return found

    def create_key(
        self, tenant: Tenant, name: str, limits: KeyLimits, duration: str | None, team: str | None = None
    ) -> NewKey:
        """Make a key under a tenant; it ends after ``duration`` such as ``30d``, or never."""
        ends = {} if duration is None else {"duration": duration}
        if self.gateway is not None:
            order = {"name": name, **limits.order(), **ends, **({} if team is None else {"team": team})}
            answer = self.gateway.create_key(tenant.id, order)
            return NewKey(str(answer["key"]), _key(answer))
        if any(key.name == name for key in self.list_keys()):
            raise AdminError(f"key {name!r} exists already; choose another --name or revoke it first")
        self._check_models(limits.models)
        refused = [model for model in limits.models if tenant.models and model not in tenant.models]
        if refused:
            raise AdminError(
                f"tenant {tenant.name!r} is not granted {', '.join(refused)}; it has {_list(tenant.models)}"
            )
        answer = self._call(
            "POST", "/key/generate", {"team_id": tenant.id, "key_alias": name, **limits.fields(), **ends}
        )
        return NewKey(str(answer["key"]), _key(answer))

    def rotate_key(self, key: str) -> NewKey:
        """A new key in place of another, by its name or id; the old one is revoked."""
        answer = self.with_gateway().rotate_key(key)
        return NewKey(str(answer["key"]), _key(answer))

    def revoke_key(self, key: KeyRecord) -> None:
        """Make a key useless at every replica at once.

        LiteLLM 1.106 tells only a block to the other replicas; of a deletion alone they learn when their cache ends,
        which a key in use may put off for a minute or more.
        """
        if self.gateway is not None:
            self.gateway.revoke_key(key.id)
            return
        self._call("POST", "/key/block", {"key": key.id})
        answer = self._call("POST", "/key/delete", {"keys": [key.id]})
        if not answer.get("deleted_keys"):
            raise AdminError(f"key {key.name!r} was not revoked; the gateway answered {answer}")

    def models(self) -> tuple[str, ...]:
        """The models that the gateway serves."""
        return tuple(sorted(str(model["id"]) for model in self._call("GET", "/v1/models")["data"]))

    def _check_models(self, wanted: tuple[str, ...]) -> None:
        if not wanted:
            return
        served = self.models()
        unknown = [model for model in wanted if model not in served]
        if unknown:
            raise AdminError(f"no model {', '.join(map(repr, unknown))}; there are {_list(served)}")


def _amount(value: float | None) -> Decimal | None:
    """LiteLLM's floating point, as it shows it."""
    return None if value is None else Decimal(repr(value))


def _tenant(team: dict[str, Any]) -> Tenant:
    return Tenant(
        id=str(team["team_id"]),
        name=str(team.get("team_alias") or team["team_id"]),
        models=tuple(team.get("models") or ()),
        requests_per_minute=team.get("rpm_limit"),
        budget_eur=_amount(team.get("max_budget")),
        spend_eur=_amount(team.get("spend")) or Decimal(0),
    )


def _account(row: dict[str, Any]) -> Tenant:
    return Tenant(
        id=row["tenant"],
        name=row["name"] or row["tenant"],
        models=(),
        requests_per_minute=None,
        budget_eur=None if row["budget_eur"] is None else Decimal(row["budget_eur"]),
        spend_eur=Decimal(row["spent_month_eur"]),
        tier=row["tier"],
        state=row["state"],
        credit_left_eur=Decimal(row["credit_left_eur"]),
    )


def _key(key: dict[str, Any]) -> KeyRecord:
    # A listed key is named by its hash under ``token``; a new one has it there too, and its text under ``key``.
    expires = key.get("expires")
    metadata = key.get("metadata") or {}
    budget = metadata.get("budget_nano_eur")
    # A key may also have LiteLLM's own limit; the gateway keeps the lower of both.
    requests = [n for n in (metadata.get("requests_per_minute"), key.get("rpm_limit")) if n is not None]
    return KeyRecord(
        id=str(key.get("token") or key.get("token_id")),
        name=str(key.get("key_alias") or key.get("token") or key.get("token_id")),
        tenant_id=str(key.get("team_id") or ""),
        models=tuple(key.get("models") or ()),
        expires=datetime.fromisoformat(str(expires)) if expires else None,
        requests_per_minute=min(requests, default=None),
        budget_eur=_amount(key.get("max_budget")) if budget is None else Decimal(format_euros(budget)),
        spend_eur=_amount(key.get("spend")) or Decimal(0),
    )


def _list(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "none"
