"""What the tests of the check of all chains do: let time pass, let it check, and change what nobody may."""

from datetime import datetime, timedelta

import psycopg
from gateway.audit.doing import START, in_database
from llmaas_gateway.audit.watch import ChainWatch

DAY = timedelta(days=1)
ACME = "stream = (SELECT id FROM audit.stream WHERE tenant = 'acme' AND kind = 'acts')"
PLATFORM = "stream = (SELECT id FROM audit.stream WHERE tenant = '')"
ALTER = "UPDATE audit.record SET body = replace(body, 'jeanne', 'joanne') WHERE number = 2 AND {which}"
MEND = "UPDATE audit.record SET body = replace(body, 'joanne', 'jeanne') WHERE number = 2 AND {which}"
REMOVE = "DELETE FROM audit.record WHERE number IN (3, 4) AND {which}"
# Takes the end of a chain away in four tables, as somebody could who may do everything but sign.
CUT_PERSONAL = "DELETE FROM audit.personal WHERE number > {last} AND {which}"
CUT_HEADS = "DELETE FROM audit.head WHERE number > {last} AND {which}"
CUT_RECORDS = "DELETE FROM audit.record WHERE number > {last} AND {which}"
SET_BACK = """
UPDATE audit.stream SET number = {last}, hash = (SELECT hash FROM audit.record WHERE number = {last} AND {which})
WHERE id = (SELECT stream FROM audit.record WHERE number = {last} AND {which})
"""
GONE = "DELETE FROM audit.stream WHERE tenant = 'acme' AND kind = 'acts'"


class Clock:
    """Time that a test lets pass."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


def told(watch: ChainWatch) -> tuple[float | None, float | None]:
    """Whether the audit is intact, and when the check began that says so."""
    values = {sample.name: sample.value for metric in watch.collect() for sample in metric.samples}
    return values.get("llmaas_audit_chain_intact"), values.get("llmaas_audit_chain_checked_timestamp_seconds")


def turn(database: str, *watches: ChainWatch) -> None:
    for watch in watches:
        in_database(database, watch.turn)


def check(database: str, watch: ChainWatch, clock: Clock) -> float | None:
    """What a whole pass finds that is due now."""
    clock.now += timedelta(seconds=900)
    turn(database, watch)
    intact, checked = told(watch)
    assert checked == clock.now.timestamp()
    return intact


def change(database: str, *statements: str, last: int = 5, which: str = ACME) -> None:
    """Do what the append-only tables refuse; each statement must change something."""
    with psycopg.connect(database) as connection:
        connection.execute("SET LOCAL session_replication_role = replica")
        for statement in statements:
            done = connection.execute(statement.format(last=last, which=which).encode())
            assert done.rowcount > 0, statement
