"""What the command line asks of LiteLLM's administration API, with its errors in plain words."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Self

import httpx

PAGE_SIZE: Final = 100


class AdminError(Exception):
    """What went wrong and what to do about it."""


@dataclass(frozen=True)
class Tenant:
    """A customer: a team of LiteLLM. ``models`` empty means every model of the catalogue."""

    id: str
    name: str
    models: tuple[str, ...]
    requests_per_minute: int | None
    budget_eur: float | None
    spend_eur: float


@dataclass(frozen=True)
class KeyRecord:
    """A key as it is stored: its hash, never the key. ``models`` empty means every model of its tenant."""

    id: str
    name: str
    tenant_id: str
    models: tuple[str, ...]
    expires: datetime | None
    requests_per_minute: int | None
    budget_eur: float | None
    spend_eur: float


@dataclass(frozen=True)
class NewKey:
    """A key that was just made; the only time its text is seen."""

    key: str
    record: KeyRecord


@dataclass(frozen=True)
class KeyLimits:
    """What a key or tenant may do; None or empty means no limit of its own."""

    models: tuple[str, ...] = ()
    requests_per_minute: int | None = None
    budget_eur: float | None = None
    budget_period: str | None = None

    def fields(self) -> dict[str, Any]:
        """As LiteLLM names them."""
        given = {
            "models": list(self.models) or None,
            "rpm_limit": self.requests_per_minute,
            "max_budget": self.budget_eur,
            "budget_duration": self.budget_period,
        }
        return {name: value for name, value in given.items() if value is not None}


class AdminClient:
    """LiteLLM's administration API behind the private listener; usable as a context manager."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self._http.close()

    def tenants(self) -> tuple[Tenant, ...]:
        """All tenants by name."""
        listed = self._call("GET", "/team/list")
        return tuple(sorted((_tenant(team) for team in listed), key=lambda tenant: tenant.name))

    def tenant(self, name: str) -> Tenant:
        """The tenant of that name.

        Raises:
            AdminError: there is none, or several.
        """
        found = [tenant for tenant in self.tenants() if tenant.name == name]
        if not found:
            raise AdminError(f"there is no tenant {name!r}; make it with: llmaas tenant create {name}")
        if len(found) > 1:
            ids = ", ".join(tenant.id for tenant in found)
            raise AdminError(f"{len(found)} tenants are called {name!r} ({ids}); remove all but one")
        return found[0]

    def create_tenant(self, name: str, limits: KeyLimits) -> Tenant:
        """Make a tenant; names are unique here, though LiteLLM would take one twice."""
        if any(tenant.name == name for tenant in self.tenants()):
            raise AdminError(f"tenant {name!r} exists already; names are unique")
        self._check_models(limits.models)
        body = {"team_alias": name, "metadata": {"made_by": "llmaas"}, **limits.fields()}
        return _tenant(self._call("POST", "/team/new", body))

    def list_keys(self, tenant: Tenant | None = None) -> tuple[KeyRecord, ...]:
        """All keys, or those of one tenant, in the order of their names; without their texts, which nobody has."""
        found: list[KeyRecord] = []
        page = total = 1
        while page <= total:
            query = {"return_full_object": "true", "page": str(page), "size": str(PAGE_SIZE)}
            if tenant is not None:
                query["team_id"] = tenant.id
            answer = self._call("GET", "/key/list", query=query)
            found += [_key(key) for key in answer["keys"]]
            total = int(answer.get("total_pages") or 1)
            page += 1
        return tuple(sorted(found, key=lambda key: key.name))

    def create_key(self, tenant: Tenant, name: str, limits: KeyLimits, duration: str | None) -> NewKey:
        """Make a key under a tenant; it ends after ``duration`` such as ``30d``, or never."""
        if any(key.name == name for key in self.list_keys()):
            raise AdminError(f"key {name!r} exists already; choose another --name or revoke it first")
        self._check_models(limits.models)
        refused = [model for model in limits.models if tenant.models and model not in tenant.models]
        if refused:
            raise AdminError(
                f"tenant {tenant.name!r} is not granted {', '.join(refused)}; it has {_list(tenant.models)}"
            )
        body = {"team_id": tenant.id, "key_alias": name, **limits.fields()}
        if duration is not None:
            body["duration"] = duration
        answer = self._call("POST", "/key/generate", body)
        return NewKey(str(answer["key"]), _key(answer))

    def revoke_key(self, key: KeyRecord) -> None:
        """Make a key useless at every replica at once.

        LiteLLM 1.106 tells only a block to the other replicas; of a deletion alone they learn when their cache ends,
        which a key in use may put off for a minute or more.
        """
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

    def _call(
        self, method: str, path: str, body: dict[str, Any] | None = None, query: dict[str, str] | None = None
    ) -> Any:
        where = f"{str(self._http.base_url).rstrip('/')}{path}"
        try:
            answer = self._http.request(method, path, json=body, params=query)
        except httpx.HTTPError as error:
            raise AdminError(
                f"no answer from {where}: {error}; check LLMAAS_ADMIN_URL and that this machine is a bastion"
            ) from error
        if answer.status_code in {401, 403}:
            raise AdminError(f"{where} refused the administration key; check LLMAAS_ADMIN_KEY")
        if not answer.is_success:
            raise AdminError(f"{where} answered {answer.status_code}: {_reason(answer)}")
        try:
            return answer.json()
        except ValueError as error:
            raise AdminError(f"{where} answered no JSON; is LLMAAS_ADMIN_URL the administration listener?") from error


def _tenant(team: dict[str, Any]) -> Tenant:
    return Tenant(
        id=str(team["team_id"]),
        name=str(team.get("team_alias") or team["team_id"]),
        models=tuple(team.get("models") or ()),
        requests_per_minute=team.get("rpm_limit"),
        budget_eur=team.get("max_budget"),
        spend_eur=float(team.get("spend") or 0),
    )


def _key(key: dict[str, Any]) -> KeyRecord:
    # A listed key is named by its hash under ``token``; a new one has it there too, and its text under ``key``.
    expires = key.get("expires")
    return KeyRecord(
        id=str(key.get("token") or key.get("token_id")),
        name=str(key.get("key_alias") or key.get("token") or key.get("token_id")),
        tenant_id=str(key.get("team_id") or ""),
        models=tuple(key.get("models") or ()),
        expires=datetime.fromisoformat(str(expires)) if expires else None,
        requests_per_minute=key.get("rpm_limit"),
        budget_eur=key.get("max_budget"),
        spend_eur=float(key.get("spend") or 0),
    )


def _reason(answer: httpx.Response) -> str:
    """LiteLLM wraps its words in ``error.message`` or ``detail``."""
    try:
        content = answer.json()
    except ValueError:
        return answer.text[:300]
    for name in ("error", "detail"):
        inner = content.get(name) if isinstance(content, dict) else None
        if isinstance(inner, dict):
            return str(inner.get("message") or inner.get("error") or inner)[:300]
        if inner:
            return str(inner)[:300]
    return str(content)[:300]


def _list(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "none"
