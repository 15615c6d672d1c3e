"""What every call asks first: who is this tenant. Answered from this process, from Redis, or from PostgreSQL.

PostgreSQL is the truth. A change is pushed to Redis as soon as it is committed, and a replica believes its own memory
for two seconds: suspension and a change of tier hold everywhere within that. A push that fails is repeated until it
arrives. One whose process was killed is mended by the others, which look for changes every two seconds
(``revocation``). A copy in Redis that is older than half a minute is read anew in any case; while PostgreSQL is away,
or does not answer within a moment, the copy serves as it is.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from llmaas_gateway import schemas
from llmaas_gateway.accounts.account import Account, AccountError, State
from llmaas_gateway.accounts.database import Database, DatabaseUnavailableError, Row
from llmaas_gateway.tasks import end

_SCHEMA: Final = tuple(
    (Path(__file__).parent / name).read_text(encoding="utf-8") for name in ("schema.sql", "removal.sql")
)
# Two replicas may push two states of a tenant in either order: the newer one stays.
_PUSH: Final = """
local known = redis.call('HGET', KEYS[1], 'revision')
if known and tonumber(known) > tonumber(ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], 'revision', unpack(ARGV))
return 1
"""
# After a failure PostgreSQL is left alone for so long where the copy in Redis will do.
_DATABASE_REST_SECONDS: Final = 5.0
# How long a push that failed waits before it is tried again.
_PUSH_AGAIN_SECONDS: Final = 0.5

_log = logging.getLogger(__name__)


class UnknownTenantError(AccountError):
    """No such tenant, or its key outlived it."""


class DirectoryUnavailableError(Exception):
    """Neither Redis nor PostgreSQL says who the tenant is."""


async def migrate(database: Database) -> None:
    """Make the tables that are missing.

    Raises:
        DatabaseUnavailableError: PostgreSQL is away, or somebody uses what would be changed; try again later.
    """
    async with database.change() as connection:
        await schemas.apply(connection, "ledger.accounts", *_SCHEMA)


def account_of(row: Row) -> Account:
    """The account from a row of ``ledger.tenant_account``."""
    return Account(
        tenant=row["tenant"],
        tier=row["tier"],
        state=State(row["state"]),
        credit_nano_eur=int(row["credit_nano_eur"]),
        revision=int(row["revision"]),
        # A copy in Redis is text throughout, and one of an older replica has no budget.
        budget_nano_eur=None if row.get("budget_nano_eur") in {None, ""} else int(row["budget_nano_eur"]),
    )


class Directory:
    """The accounts of all tenants, as one replica sees them."""

    def __init__(  # noqa: PLR0913 - each is a setting of its own
        self,
        redis: Redis,
        database: Database,
        *,
        prefix: str = "llmaas",
        cache_seconds: float = 2.0,
        refresh_seconds: float = 30.0,
        refresh_wait_seconds: float = 1.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Takes a Redis client with its own time limit, and PostgreSQL.

        Args:
            redis: the ledger's client.
            database: where the truth is.
            prefix: of the keys in Redis.
            cache_seconds: how long this process believes itself.
            refresh_seconds: how long it believes Redis.
            refresh_wait_seconds: how long a call waits for PostgreSQL where there is a copy in Redis; less than the
                first, as what is learned is as old as the question.
            clock: seconds since 1970.
        """
        self._redis = redis
        self._database = database
        self._prefix = prefix
        self._push = redis.register_script(_PUSH)
        self._cache_seconds = cache_seconds
        self._refresh_seconds = refresh_seconds
        self._refresh_wait_seconds = refresh_wait_seconds
        self._clock = clock
        self._known: dict[str, tuple[float, Account | None]] = {}
        self._asking: dict[str, asyncio.Task[Account | None]] = {}
        self._database_rests_until = 0.0
        self._database_failing = False
        self._refreshing: dict[str, asyncio.Task[Account | None]] = {}
        self._untold: dict[str, Account] = {}
        self._telling: asyncio.Task[None] | None = None

    def key(self, tenant: str) -> str:
        """The Redis key of a tenant's copy."""
        return f"{self._prefix}:tenant:{tenant}"

    async def account(self, tenant: str) -> Account:
        """The tenant as of at most two seconds ago, as far as this process can know.

        Raises:
            UnknownTenantError: there is none.
            DirectoryUnavailableError: Redis and PostgreSQL are both away.
        """
        since, account = self._known.get(tenant, (float("-inf"), None))
        if self._clock() - since >= self._cache_seconds:
            account = await self._ask_once(tenant)
        if account is None:
            raise UnknownTenantError(f"there is no tenant {tenant!r}")
        return account

    async def _ask_once(self, tenant: str) -> Account | None:
        """Calls of a tenant that come at the same moment share one answer."""
        task = self._asking.get(tenant)
        if task is None:
            task = asyncio.create_task(self._ask(tenant))
            self._asking[tenant] = task
            task.add_done_callback(lambda _: self._asking.pop(tenant, None))
        return await asyncio.shield(task)

    async def _ask(self, tenant: str) -> Account | None:
        # What is learned is as old as the question: the answer may have left Redis before a change that follows it.
        asked_at = self._clock()
        account = await self._look_up(tenant)
        self._known[tenant] = (asked_at, account)
        return account

    async def _look_up(self, tenant: str) -> Account | None:
        try:
            fields = await cast("Any", self._redis.hgetall(self.key(tenant)))
        except RedisError as error:
            try:
                return await self._read(tenant)
            except DatabaseUnavailableError:
                raise DirectoryUnavailableError(f"Redis ({type(error).__name__}) and PostgreSQL are away") from error
        copy = {name.decode(): value.decode() for name, value in fields.items()}
        if not copy:
            try:
                return await self._refresh(tenant)
            except DatabaseUnavailableError as error:
                raise DirectoryUnavailableError(f"Redis does not know tenant {tenant!r}; {error}") from error
        age = self._clock() - int(copy["read_at_ms"]) / 1000
        if age >= self._refresh_seconds and self._clock() >= self._database_rests_until:
            try:
                return await self._refresh_soon(tenant)
            except (DatabaseUnavailableError, TimeoutError):
                self._database_rests()
        return account_of(copy)

    async def _refresh_soon(self, tenant: str) -> Account | None:
        """PostgreSQL's word if it comes soon; later it still comes to Redis, and nobody waits for it.

        Raises:
            DatabaseUnavailableError: PostgreSQL is away.
            TimeoutError: it takes longer than a copy is worth.
        """
        refresh = self._refreshing.get(tenant)
        if refresh is None:
            refresh = asyncio.create_task(self._refresh(tenant))
            self._refreshing[tenant] = refresh
            refresh.add_done_callback(lambda task: self._refreshed(tenant, task))
        # As long as the last answer did not come in time, nobody waits to learn whether the next one does.
        done, _ = await asyncio.wait({refresh}, timeout=0 if self._database_failing else self._refresh_wait_seconds)
        if not done:
            raise TimeoutError
        return refresh.result()

    def _refreshed(self, tenant: str, refresh: asyncio.Task[Account | None]) -> None:
        self._refreshing.pop(tenant, None)
        if refresh.cancelled():
            return
        error = refresh.exception()
        if error is None:
            self._database_failing, self._database_rests_until = False, 0.0
        elif isinstance(error, DatabaseUnavailableError):
            # From when it is known: the question may have waited for longer than the rest.
            self._database_rests()
        else:
            _log.warning("tenant %s: not read anew: %s", tenant, error)

    def _database_rests(self) -> None:
        self._database_failing = True
        self._database_rests_until = self._clock() + _DATABASE_REST_SECONDS

    async def _read(self, tenant: str) -> Account | None:
        rows = await self._database.read("SELECT * FROM ledger.tenant_account WHERE tenant = %s", [tenant])
        return account_of(rows[0]) if rows else None

    async def _refresh(self, tenant: str) -> Account | None:
        account = await self._read(tenant)
        if account is not None:
            # If Redis is away, the next question finds the old copy or none, and asks again.
            with contextlib.suppress(RedisError):
                await self.publish(account)
        return account

    async def publish(self, account: Account) -> None:
        """Push a state of a tenant to Redis, unless a newer one is there, and forget what this process believed.

        Raises:
            RedisError: Redis is away; replicas learn of the state when their copy is read anew.
        """
        self._known.pop(account.tenant, None)
        fields = {
            "tenant": account.tenant,
            "tier": account.tier,
            "state": account.state.value,
            "credit_nano_eur": account.credit_nano_eur,
            "budget_nano_eur": "" if account.budget_nano_eur is None else account.budget_nano_eur,
            "read_at_ms": int(self._clock() * 1000),
        }
        arguments = [item for field in fields.items() for item in field]
        await self._push(keys=[self.key(account.tenant)], args=[account.revision, *arguments])

    async def tell(self, account: Account) -> None:
        """Push a committed change of a tenant; while Redis is away, again and again until it arrives."""
        try:
            await self.publish(account)
        except RedisError as error:
            _log.warning("tenant %s: not pushed to Redis (%s); trying again", account.tenant, type(error).__name__)
            self._untold[account.tenant] = account
            if self._telling is None or self._telling.done():
                self._telling = asyncio.create_task(self._tell_again())

    async def _tell_again(self) -> None:
        while self._untold:
            await asyncio.sleep(_PUSH_AGAIN_SECONDS)
            for tenant, account in list(self._untold.items()):
                try:
                    await self.publish(account)
                except RedisError:
                    break
                # Unless it has changed once more meanwhile: then the newer state waits for its turn.
                if self._untold[tenant] is account:
                    del self._untold[tenant]
                    _log.info("tenant %s: pushed to Redis", tenant)

    async def close(self) -> None:
        """Give up what could not be pushed or read; replicas learn of it when their copy is read anew."""
        telling = [] if self._telling is None else [self._telling]
        await end(*telling, *self._refreshing.values())
