"""Transactions whose holder does something else meanwhile."""

from typing import Any

import psycopg


async def may_idle(connection: psycopg.AsyncConnection[Any]) -> None:
    """Let nothing be asked in the transaction for as long as it takes; the server ends others after a minute.

    That a holder is gone, or its host, is noticed by the connection's keepalives all the same.
    """
    await connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
