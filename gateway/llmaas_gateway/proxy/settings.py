"""What the gateway is told: one file for what is declared, the environment for addresses and secrets."""

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from llmaas_gateway.accounts.account import Tier
from llmaas_gateway.audit.worker import KEY_VARIABLE, AuditSettings
from llmaas_gateway.invoices.removal import AccountsSettings
from llmaas_gateway.isolation.requests import Bounds
from llmaas_gateway.ledger.counters import LONGEST_LEASE
from llmaas_gateway.libpq import libpq_url

CONFIGURATION_VARIABLE: Final = "LLMAAS_GATEWAY_CONFIG"
REDIS_VARIABLE: Final = "LLMAAS_REDIS_URL"
DATABASE_VARIABLE: Final = "DATABASE_URL"
SALT_VARIABLE: Final = "LLMAAS_CACHE_SALT_SECRET"
MASTER_KEY_VARIABLE: Final = "LITELLM_MASTER_KEY"
_LEAST_SECRET: Final = 32


class SettingsError(ValueError):
    """The gateway cannot start as it is configured; the text names every mistake."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ServedModel(_Strict):
    """A model as the gateway must know it.

    Attributes:
        context_tokens: prompt and answer together.
        capability: what it is asked for.
        choices: the most that ``n`` and ``best_of`` may be.
        most_output_tokens: set as ``max_tokens`` where a client names none; None leaves it the rest of its context.
        template_tokens: what the chat template adds to a request, at most; instructions for tools, documents and
            thinking, which some templates write, come to 200 to 500.
        message_tokens: what it adds to each message, at most.
        tokenizer: its ``tokenizer.json``; without it a byte counts as a token, which no byte-level tokenizer exceeds.
        tokenizer_sha256: of that file; one that differs is not counted with, and the gateway does not start.
        fallbacks: models that may answer in its place; the dearest of them is reserved.
        takes_priority: whether its server schedules by priority (vLLM with ``--scheduling-policy=priority``); any other
            does nothing with it, or refuses it.
    """

    name: str = Field(min_length=1)
    context_tokens: int = Field(ge=1)
    capability: Literal["chat", "embedding"] = "chat"
    choices: int = Field(default=4, ge=1)
    most_output_tokens: int | None = Field(default=None, ge=1)
    template_tokens: int = Field(default=512, ge=0)
    message_tokens: int = Field(default=16, ge=0)
    tokenizer: Path | None = None
    tokenizer_sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    fallbacks: tuple[str, ...] = ()
    takes_priority: bool = False

    @model_validator(mode="after")
    def _digest_of_something(self) -> "ServedModel":
        if self.tokenizer_sha256 is not None and self.tokenizer is None:
            raise ValueError("tokenizer_sha256 stands there without tokenizer; name the file")
        return self

    def bounds(self, body_bytes: int) -> Bounds:
        """The most that a request may ask of it."""
        return Bounds(self.context_tokens, self.choices, body_bytes)


class GatewaySettings(_Strict):
    """The file that ``LLMAAS_GATEWAY_CONFIG`` names.

    Attributes:
        prices: path of the price book.
        lifecycle: path of what is said of each model's life; without it nothing is.
        models: all that are served.
        tiers: all that a tenant can have.
        replicas: of the proxy; what a tenant may spend while the ledger is away is shared out among them.
        ledger_seconds: the most that one operation of the ledger may take.
        lease_seconds: how long a reservation outlives its proxy.
        answer_seconds: the longest that a call waits for its answer to begin, all tries together.
        silence_seconds: the longest that a stream may pause.
        body_bytes: the most that a request may have.
        audit: how long records are kept, and how often they are signed.
        accounts: how long records of calls and invoices are kept.
        vat_percent: of invoices, as a decimal string; None where VAT is not their matter.
        shadow: count, but refuse nobody for a limit.
        prefix: of all keys in Redis.
    """

    prices: Path
    lifecycle: Path | None = None
    models: tuple[ServedModel, ...] = Field(min_length=1)
    tiers: tuple[Tier, ...] = Field(min_length=1)
    replicas: int = Field(default=1, ge=1)
    ledger_seconds: float = Field(default=0.5, gt=0, le=30)
    lease_seconds: float = Field(default=60, ge=3, le=LONGEST_LEASE.total_seconds())
    answer_seconds: float = Field(default=540, gt=0)
    silence_seconds: float = Field(default=120, gt=0)
    body_bytes: int = Field(default=4 * 1024 * 1024, ge=1024)
    audit: AuditSettings = AuditSettings(acts_days=365, requests_days=365)
    accounts: AccountsSettings = AccountsSettings()
    vat_percent: str | None = Field(default=None, pattern=r"^[0-9]{1,2}(\.[0-9]{1,2})?$")
    shadow: bool = False
    prefix: str = "llmaas"

    @model_validator(mode="after")
    def _names(self) -> "GatewaySettings":
        for what, names in (("models", [m.name for m in self.models]), ("tiers", [t.name for t in self.tiers])):
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise ValueError(f"{what}: {', '.join(twice)} stands there twice")
        for model in self.models:
            if unknown := sorted(set(model.fallbacks) - {m.name for m in self.models}):
                raise ValueError(f"models: {model.name} falls back to {', '.join(unknown)}, which is not served")
        return self

    @cached_property
    def models_by_name(self) -> Mapping[str, ServedModel]:
        """The served models."""
        return {model.name: model for model in self.models}

    @cached_property
    def tiers_by_name(self) -> Mapping[str, Tier]:
        """The tiers."""
        return {tier.name: tier for tier in self.tiers}


class Secrets(_Strict):
    """What comes from the environment.

    Attributes:
        redis_url: ``redis://`` or ``rediss://`` with the ledger's password and, as parameters, its ``ssl_*`` options.
        database_url: PostgreSQL's, with nothing in it that only Prisma knows. All connections of the gateway are made
            with it, and notice by its keepalives that the other side is lost.
        salt_secret: the tenants' cache salts are derived from it.
        audit_key: signs the audit's heads.
        master_key: LiteLLM's own, for its administration in this process.
    """

    redis_url: str = Field(repr=False)
    database_url: str = Field(repr=False)
    salt_secret: bytes = Field(repr=False)
    audit_key: str = Field(repr=False)
    master_key: str = Field(repr=False)


def read_secrets(environment: Mapping[str, str] = os.environ) -> Secrets:
    """The secrets.

    Raises:
        SettingsError: one is missing or too short; the text names all of them.
    """
    wanted = (REDIS_VARIABLE, DATABASE_VARIABLE, SALT_VARIABLE, KEY_VARIABLE, MASTER_KEY_VARIABLE)
    problems = [f"{name} is not set" for name in wanted if not environment.get(name)]
    salt = environment.get(SALT_VARIABLE, "").encode()
    if salt and len(salt) < _LEAST_SECRET:
        problems.append(f"{SALT_VARIABLE} has {len(salt)} bytes; at least {_LEAST_SECRET} are needed")
    if problems:
        raise SettingsError("; ".join(problems))
    return Secrets(
        redis_url=environment[REDIS_VARIABLE],
        database_url=libpq_url(environment[DATABASE_VARIABLE]),
        salt_secret=salt,
        audit_key=environment[KEY_VARIABLE],
        master_key=environment[MASTER_KEY_VARIABLE],
    )


def read_settings(environment: Mapping[str, str] = os.environ) -> GatewaySettings:
    """The settings from the file that the environment names; a relative path in it is relative to the file.

    Raises:
        SettingsError: every mistake of the file, with its path in it.
    """
    name = environment.get(CONFIGURATION_VARIABLE)
    if not name:
        raise SettingsError(f"{CONFIGURATION_VARIABLE} names no file; the proxy does not serve without its gateway")
    path = Path(name)
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        settings = GatewaySettings.model_validate(content)
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise SettingsError(f"{path}: not YAML: {error}") from None
    except ValidationError as error:
        lines = [f"{path}: {'.'.join(map(str, e['loc'])) or '(top)'}: {e['msg']}" for e in error.errors()]
        raise SettingsError("\n".join(lines)) from None
    lifecycle = None if settings.lifecycle is None else path.parent / settings.lifecycle
    models = tuple(
        model if model.tokenizer is None else model.model_copy(update={"tokenizer": path.parent / model.tokenizer})
        for model in settings.models
    )
    return settings.model_copy(
        update={"prices": path.parent / settings.prices, "lifecycle": lifecycle, "models": models}
    )
