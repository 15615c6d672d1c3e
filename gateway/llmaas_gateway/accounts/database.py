"""PostgreSQL for what is read often and changed seldom: one kept connection to read, a new one for each change."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from psycopg.rows import dict_row

Row = dict[str, Any]
Connection = psycopg.AsyncConnection[Any]


class DatabaseUnavailableError(Exception):
    """PostgreSQL is away or slower than the time limit; what was asked for did not happen."""


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


class Database:
    """One PostgreSQL database."""

    def __init__(self, url: str, *, timeout_seconds: float = 5.0) -> None:
        """Takes a URL of PostgreSQL and the time limit of connecting and of each reading."""
        self._url = url
        self._timeout = timeout_seconds
        self._reader: Connection | None = None
        self._reading = asyncio.Lock()

    async def _connect(self, *, autocommit: bool) -> Connection:
        try:
            async with asyncio.timeout(self._timeout):
                # Moments come back in UTC, whatever the server's own time zone.
                return await psycopg.AsyncConnection.connect(
                    self._url, autocommit=autocommit, options="-c timezone=UTC"
                )
        except (psycopg.OperationalError, TimeoutError, OSError) as error:
            raise DatabaseUnavailableError(f"PostgreSQL does not answer: {type(error).__name__}") from error

    async def read(self, query: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[Row]:
        """All rows of a query; a connection that died since the last one is replaced once.

        Raises:
            DatabaseUnavailableError: no answer within the time limit.
        """
        async with self._reading:
            kept = self._reader is not None
            try:
                return await self._read(query, parameters)
            except DatabaseUnavailableError:
                if not kept:
                    raise
                return await self._read(query, parameters)

    async def _read(self, query: str, parameters: Sequence[Any] | Mapping[str, Any]) -> list[Row]:
        if self._reader is None:
            self._reader = await self._connect(autocommit=True)
        try:
            async with asyncio.timeout(self._timeout):
                return await rows(self._reader, query, parameters)
        except (psycopg.OperationalError, TimeoutError, OSError) as error:
            await self.close()
            raise DatabaseUnavailableError(f"PostgreSQL does not answer: {type(error).__name__}") from error

    @asynccontextmanager
    async def change(self) -> AsyncIterator[Connection]:
        """A connection in a transaction of its own: committed at the end of the block, undone by an error in it.

        Raises:
            DatabaseUnavailableError: PostgreSQL went away; if it did while committing, the change may have happened.
        """
        connection = await self._connect(autocommit=False)
        try:
            async with connection:
                yield connection
        except psycopg.OperationalError as error:
            raise DatabaseUnavailableError(f"PostgreSQL went away: {type(error).__name__}") from error

    async def close(self) -> None:
        """Close the kept connection."""
        reader, self._reader = self._reader, None
        if reader is not None:
            await reader.close()
