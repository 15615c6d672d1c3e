"""A key that was revoked, or a tenant suspended, is refused at every replica within seconds, whatever Redis does.

LiteLLM remembers a key for a minute. A replica that blocks one tells the others by Redis, once: what it says while
Redis is away, or before they listen again, is lost. So each replica asks PostgreSQL, which is the truth, for the keys
that it remembers, and forgets those that are gone or blocked. It is one short query every two seconds, by a connection
of its own: what others read may take seconds. While PostgreSQL is away, nobody can revoke a key.

A change of a tenant is pushed to Redis by the replica that made it. One that died before it could, leaves it to the
others, which ask for tenants that changed lately in the same look and push what is news to them.
"""

import asyncio
import hashlib
import importlib
import logging
from collections.abc import Iterable
from typing import Any, Final, Protocol

import psycopg
from redis.exceptions import RedisError

from llmaas_gateway.accounts.database import Database, DatabaseUnavailableError
from llmaas_gateway.accounts.directory import Directory, account_of

_SECONDS: Final = 2.0
_GOOD: Final = 'SELECT token FROM "LiteLLM_VerificationToken" WHERE token = ANY(%s) AND blocked IS NOT TRUE'
# Before the newest change, by the time of those who made them: one that was committed late has a minute to be seen.
_CHANGED: Final = """
SELECT tenant, revision FROM ledger.tenant
WHERE changed_at >= (SELECT max(changed_at) FROM ledger.tenant) - interval '1 minute'
"""
_ACCOUNTS: Final = "SELECT * FROM ledger.tenant_account WHERE tenant = ANY(%s)"

_log = logging.getLogger(__name__)


class RememberedKeys(Protocol):
    """The keys that this process lets in without asking."""

    def hashes(self) -> list[str]:
        """All of them, by their hash."""

    def remembers(self, key: str) -> bool:
        """Whether this one, by its hash, is among them."""

    def forget(self, key: str) -> None:
        """Ask for this one again with its next request."""


class LiteLLMKeys:
    """Those that LiteLLM remembers; it has no interface for this."""

    def __init__(self) -> None:
        """Finds LiteLLM's memory in this process; where it is no longer there, the proxy does not start."""
        cache: Any = importlib.import_module("litellm.proxy.proxy_server").user_api_key_cache
        self._memory = cache.key_object_cache.in_memory_cache

    def hashes(self) -> list[str]:
        """All of them, by their hash."""
        return list(self._memory.cache_dict)

    def remembers(self, key: str) -> bool:
        """Whether this one, by its hash, is among them."""
        return key in self._memory.cache_dict

    def forget(self, key: str) -> None:
        """Ask for this one again with its next request."""
        self._memory.delete_cache(key)


class Revocation:
    """Forgets revoked keys and learns what tenants have become, as long as it runs."""

    def __init__(self, database: Database, shared: Database, remembered: RememberedKeys, directory: Directory) -> None:
        """Takes where keys and tenants are, and what this process remembers of them.

        Args:
            database: nobody else's, for the looks.
            shared: with others who read, for questions about a key: clients can ask as many as they like.
            remembered: what is forgotten.
            directory: what is told of changed tenants.
        """
        self._database = database
        self._shared = shared
        self._remembered = remembered
        self._directory = directory
        # Of the tenants that changed lately, the revisions that Redis was told.
        self._told: dict[str, int] = {}

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            try:
                await self.look()
                await self.look_at_tenants()
            except (DatabaseUnavailableError, psycopg.Error) as error:
                _log.warning("revoked keys and changed tenants cannot be looked for: %s", error)
            await asyncio.sleep(_SECONDS)

    async def any_good(self, keys: Iterable[str]) -> bool:
        """Whether one of these is a key that may be used; where PostgreSQL does not answer, one that is remembered."""
        hashes = [hashlib.sha256(key.encode()).hexdigest() for key in keys]
        if any(self._remembered.remembers(key) for key in hashes):
            return True
        try:
            return bool(await self._shared.read(_GOOD, [hashes]))
        except (DatabaseUnavailableError, psycopg.Error) as error:
            _log.warning("a key cannot be looked for: %s", error)
            return False

    async def look(self) -> None:
        """Forget what PostgreSQL no longer has, or has blocked.

        Raises:
            DatabaseUnavailableError: PostgreSQL does not answer; nothing was forgotten.
            psycopg.Error: likewise, it has no keys.
        """
        known = self._remembered.hashes()
        if not known:
            return
        good = {row["token"] for row in await self._database.read(_GOOD, [known])}
        for key in known:
            if key not in good:
                self._remembered.forget(key)

    async def look_at_tenants(self) -> None:
        """Push those that changed lately, unless that was done; Redis keeps what is newer there.

        Raises:
            DatabaseUnavailableError: PostgreSQL does not answer; nothing was pushed.
            psycopg.Error: likewise, it has no tenants.
        """
        changed = {row["tenant"]: int(row["revision"]) for row in await self._database.read(_CHANGED)}
        self._told = {tenant: told for tenant, told in self._told.items() if tenant in changed}
        news = [tenant for tenant, revision in changed.items() if self._told.get(tenant) != revision]
        if not news:
            return
        for account in map(account_of, await self._database.read(_ACCOUNTS, [news])):
            try:
                await self._directory.publish(account)
            except RedisError:
                # What this process believed is forgotten; the next look tells Redis.
                return
            self._told[account.tenant] = account.revision
