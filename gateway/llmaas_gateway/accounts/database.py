"""PostgreSQL for what is read often and changed seldom: one kept connection to read, a new one for each change.

Sums over many records take minutes, and calls wait for what the kept connection reads: they have connections of their
own, a few at a time.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final
from weakref import WeakValueDictionary

import psycopg
from psycopg.rows import dict_row

from llmaas_gateway.tasks import end

Row = dict[str, Any]
Connection = psycopg.AsyncConnection[Any]
# Answers wait for two sums, one after the other; the edge hangs up after less than ten minutes without a byte.
_SUM_SECONDS: Final = 240.0
_SUMS_AT_ONCE: Final = 2
_PLACE_SECONDS: Final = 10.0


class DatabaseUnavailableError(Exception):
    """PostgreSQL is away or slower than the time limit; what was asked for did not happen."""


class DatabaseBusyError(DatabaseUnavailableError):
    """PostgreSQL is there, but what was asked for takes too long now; nothing happened."""


class DatabaseConflictError(DatabaseUnavailableError):
    """PostgreSQL is there, but another change came between what was read and what was written; nothing happened."""


async def rows(connection: Connection, query: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[Row]:
    """All rows of a query, by name of column."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(query.encode(), parameters)
        return await cursor.fetchall()


async def one_moment(connection: Connection) -> None:
    """All that the transaction reads is as of one moment, and no month of records goes before it ends."""
    await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    # A table that is dropped is gone at once, for transactions with an older view of its rows too.
    await connection.execute("LOCK TABLE ledger.record IN ACCESS SHARE MODE")


async def long_statements(connection: Connection) -> None:
    """Let each statement of the transaction take half an hour, as sums over months of records do at night."""
    await connection.execute("SET LOCAL statement_timeout = '30min'")


class Database:
    """One PostgreSQL database."""

    def __init__(
        self,
        url: str,
        *,
        timeout_seconds: float = 5.0,
        sum_seconds: float = _SUM_SECONDS,
        place_seconds: float = _PLACE_SECONDS,
    ) -> None:
        """Takes a URL of PostgreSQL and some time limits.

        Args:
            url: of the database.
            timeout_seconds: of connecting and of each reading.
            sum_seconds: of each sum.
            place_seconds: of waiting until others' sums are made.
        """
        self._url = url
        self._timeout = timeout_seconds
        self._reader: Connection | None = None
        self._reading = asyncio.Lock()
        self._failed_at = float("-inf")
        self._given_up: set[asyncio.Task[Any]] = set()
        self._sum_seconds = sum_seconds
        self._place_seconds = place_seconds
        self._places = asyncio.Semaphore(_SUMS_AT_ONCE)
        # Of tenants whose sums are being made or waited for.
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def _connect(self, *, autocommit: bool, options: str = "", seconds: float | None = None) -> Connection:
        try:
            async with asyncio.timeout(self._timeout if seconds is None else seconds):
                # Moments come back in UTC, whatever the server's own time zone.
                return await psycopg.AsyncConnection.connect(
                    self._url, autocommit=autocommit, options=f"-c timezone=UTC {options}"
                )
        except (psycopg.OperationalError, TimeoutError, OSError) as error:
            raise DatabaseUnavailableError(f"PostgreSQL does not answer: {type(error).__name__}") from error

    async def read(self, query: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[Row]:
        """All rows of a query; a connection that died since the last one is replaced once.

        One reading at a time: those that wait for one that gets no answer end with it, as each would take as long.

        Raises:
            DatabaseUnavailableError: no answer within the time limit, or none to others while this one waited.
        """
        asked = time.monotonic()
        try:
            async with asyncio.timeout(self._timeout):
                await self._reading.acquire()
        except TimeoutError as error:
            raise DatabaseUnavailableError("PostgreSQL does not answer: others wait for it already") from error
        try:
            if self._failed_at >= asked:
                raise DatabaseUnavailableError("PostgreSQL does not answer: another has waited for it")
            return await self._read_in_time(query, parameters)
        finally:
            self._reading.release()

    async def _read_in_time(self, query: str, parameters: Sequence[Any] | Mapping[str, Any]) -> list[Row]:
        ends = time.monotonic() + self._timeout
        kept = self._reader is not None
        try:
            try:
                return await self._read(query, parameters, ends)
            except DatabaseUnavailableError:
                # Where the time is over it was not the connection alone.
                if not kept or time.monotonic() >= ends:
                    raise
                return await self._read(query, parameters, ends)
        except DatabaseUnavailableError:
            self._failed_at = time.monotonic()
            raise

    async def _read(self, query: str, parameters: Sequence[Any] | Mapping[str, Any], ends: float) -> list[Row]:
        if self._reader is None:
            self._reader = await self._connect(autocommit=True, seconds=ends - time.monotonic())
        reader = self._reader
        reading = asyncio.create_task(rows(reader, query, parameters))
        try:
            done, _ = await asyncio.wait({reading}, timeout=ends - time.monotonic())
        finally:
            if not reading.done():
                self._give_up(reader, reading)
        if not done:
            raise DatabaseUnavailableError("PostgreSQL does not answer: TimeoutError")
        try:
            return reading.result()
        except (psycopg.OperationalError, OSError) as error:
            await self._close_reader()
            raise DatabaseUnavailableError(f"PostgreSQL does not answer: {type(error).__name__}") from error

    def _give_up(self, reader: Connection, reading: asyncio.Task[list[Row]]) -> None:
        """End a reading without waiting for its end: psycopg takes up to ten seconds where the server hangs."""
        self._reader = None

        async def ended() -> None:
            reading.cancel()
            try:
                await asyncio.wait({reading})
            finally:
                await reader.close()

        ending = asyncio.create_task(ended())
        self._given_up |= {reading, ending}
        for task in (reading, ending):
            task.add_done_callback(self._given_up.discard)

    @asynccontextmanager
    async def summing(self, tenant: str | None = None) -> AsyncIterator[Connection]:
        """A connection to read many records with, each statement by itself; it holds up nobody who reads a little.

        Args:
            tenant: whose records; one sum of each tenant is made at a time, so that none takes all places.

        Raises:
            DatabaseBusyError: too many sums are being made, or this one takes too long.
            DatabaseUnavailableError: PostgreSQL is away.
        """
        turn = self._turns.setdefault(tenant, asyncio.Lock()) if tenant is not None else asyncio.Lock()
        try:
            async with asyncio.timeout(self._place_seconds), AsyncExitStack() as places:
                await places.enter_async_context(turn)
                await places.enter_async_context(self._places)
                taken = places.pop_all()
        except TimeoutError:
            raise DatabaseBusyError("other sums are being made; ask again in half a minute") from None
        async with taken, self._summing() as connection:
            yield connection

    @asynccontextmanager
    async def _summing(self) -> AsyncIterator[Connection]:
        try:
            limit = f"-c statement_timeout={int(self._sum_seconds * 1000)} -c default_transaction_read_only=on"
            connection = await self._connect(autocommit=True, options=limit)
            try:
                yield connection
            finally:
                await connection.close()
        except psycopg.errors.QueryCanceled:
            limit = f"{self._sum_seconds:g} seconds"
            raise DatabaseBusyError(f"the sum takes longer than {limit}; ask for a shorter period") from None
        except psycopg.OperationalError as error:
            raise DatabaseUnavailableError(f"PostgreSQL went away: {type(error).__name__}") from error

    @asynccontextmanager
    async def change(self) -> AsyncIterator[Connection]:
        """A connection in a transaction of its own: committed at the end of the block, undone by an error in it.

        Raises:
            DatabaseConflictError: another change came between; made anew from the beginning it may succeed.
            DatabaseUnavailableError: PostgreSQL went away; if it did while committing, the change may have happened.
        """
        connection = await self._connect(autocommit=False)
        try:
            async with connection:
                yield connection
        except psycopg.errors.SerializationFailure as error:
            raise DatabaseConflictError("another change came between; ask again") from error
        except psycopg.OperationalError as error:
            raise DatabaseUnavailableError(f"PostgreSQL went away: {type(error).__name__}") from error

    async def close(self) -> None:
        """Close the kept connection, and what is left of those that got no answer."""
        await end(*self._given_up)
        await self._close_reader()

    async def _close_reader(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            await reader.close()
