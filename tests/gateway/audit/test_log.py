"""Concurrent writers never break a chain; every call is chained once; an act and its record stand or fall together."""

import asyncio
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from gateway.audit.doing import START, act, export, in_database, note_calls
from gateway.audit.watching import change
from llmaas_gateway.audit.heads import seal
from llmaas_gateway.audit.log import AuditLog, Connection, migrate
from llmaas_gateway.audit.records import Act, ActError
from llmaas_gateway.audit.requests import chain_all, chain_pending
from llmaas_gateway.audit.signing import Signer, Verifier
from llmaas_gateway.audit.stored import TamperedError
from llmaas_gateway.audit.verify import verify_files


def test_concurrent_writers_never_break_a_chain(
    database: str, signer: Signer, verifier: Verifier, tmp_path: Path
) -> None:
    note_calls(database, [f"r{n}" for n in range(300)])
    note_calls(database, [f"s{n}" for n in range(300)], "globex")

    async def acts(writer: int) -> None:
        log = AuditLog(database)
        for n in range(10):
            # Streams are given in both orders, as a deadlock would need it.
            order = ["acme", "", "globex"] if writer % 2 else ["globex", "", "acme"]
            await log.append([act(n, tenant, writer=writer) for tenant in order])

    async def calls() -> None:
        async with AuditLog(database).connect() as connection:
            for _ in range(600 // 17 + 1):
                await chain_pending(connection, 17)

    async def heads() -> None:
        async with AuditLog(database).connect() as connection:
            for _ in range(5):
                await seal(connection, signer)
                await asyncio.sleep(0.05)

    async def everything() -> None:
        await asyncio.gather(*(acts(writer) for writer in range(6)), calls(), calls(), calls(), heads(), heads())

    asyncio.run(everything())
    in_database(database, lambda connection: seal(connection, signer))
    report = verify_files(export(database, signer, tmp_path), verifier)
    assert report.problems == []
    assert report.notes == []
    anchors = in_database(database, _count_anchors)
    assert report.records == 6 * 10 * 3 + 600 + anchors


async def _count_anchors(connection: Connection) -> int:
    row = await (
        await connection.execute("SELECT count(*) FROM audit.record WHERE body LIKE '%audit.anchor%'")
    ).fetchone()
    assert row is not None
    return int(row[0])


def test_a_call_is_chained_once_however_often_it_is_recorded(database: str) -> None:
    note_calls(database, ["a", "b"])
    note_calls(database, ["b", "c"])
    assert in_database(database, chain_all) == 3
    note_calls(database, ["a", "c"])
    assert in_database(database, chain_all) == 0


def test_a_transaction_that_fails_chains_no_call_and_loses_none(database: str) -> None:
    note_calls(database, ["a", "b"])

    async def fail(connection: Connection) -> None:
        async with connection.transaction():
            assert await chain_pending(connection) == 2
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        in_database(database, fail)
    assert in_database(database, chain_all) == 2


def test_calls_recorded_before_there_was_an_audit_are_chained(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("DROP SCHEMA audit CASCADE")
    note_calls(database, ["old-a", "old-b"])
    in_database(database, migrate)
    in_database(database, migrate)
    note_calls(database, ["new"])
    assert in_database(database, chain_all) == 3


def test_an_act_is_recorded_only_if_what_it_belongs_to_is_committed(database: str) -> None:
    log = AuditLog(database)

    async def fail(connection: Connection) -> None:
        async with connection.transaction():
            await log.append([act(1)], connection)
            raise RuntimeError("the act failed")

    with pytest.raises(RuntimeError, match="the act failed"):
        in_database(database, fail)
    assert asyncio.run(log.append([act(2)]))[0].number == 1


def test_what_is_in_force_leaves_a_record_only_when_it_changes(database: str) -> None:
    log = AuditLog(database)
    one = Act("system:gateway", "prices.in_force", "prices.yaml", START, details={"sha256": "a" * 64, "ids": [1]})
    other = replace(one, details={"sha256": "b" * 64})

    async def declare() -> list[int]:
        places = [await log.declare(each) for each in (one, one, other, other, one)]
        return [place.number for place in places if place]

    assert asyncio.run(declare()) == [1, 2, 3]


@pytest.mark.parametrize("table", ["record", "personal", "head"])
def test_what_is_chained_cannot_be_changed_or_deleted(database: str, signer: Signer, table: str) -> None:
    asyncio.run(AuditLog(database).append([act(1)]))
    in_database(database, lambda connection: seal(connection, signer))
    with psycopg.connect(database, autocommit=True) as connection:
        for statement in ("UPDATE audit.{} SET number = 9", "DELETE FROM audit.{}"):
            with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
                connection.execute(statement.format(table).encode())


def test_a_chain_altered_in_the_database_is_not_signed(database: str, signer: Signer) -> None:
    log = AuditLog(database)
    asyncio.run(log.append([act(n, tenant) for n in range(4) for tenant in ("acme", "globex")]))
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("ALTER TABLE audit.record DISABLE TRIGGER append_only")
        connection.execute(
            "UPDATE audit.record SET body = replace(body, 'jeanne', 'joanne') WHERE number = 3 AND stream ="
            " (SELECT id FROM audit.stream WHERE tenant = 'acme')"
        )
    with pytest.raises(TamperedError, match="record 3 was altered"):
        in_database(database, lambda connection: seal(connection, signer))
    with psycopg.connect(database) as connection:
        signed = connection.execute(
            "SELECT tenant FROM audit.head JOIN audit.stream ON id = stream ORDER BY tenant"
        ).fetchall()
    assert signed == [("",), ("globex",)]


@pytest.mark.parametrize(
    "altered",
    [
        "UPDATE audit.head SET statement = 'x' WHERE {which}",
        "UPDATE audit.head SET statement = replace(statement, 'number', 'digits') WHERE {which}",
        "UPDATE audit.record SET body = 'x' WHERE number = 2 AND {which}",
        "UPDATE audit.record SET at = 'x', recorded_at = 'infinity' WHERE number = 2 AND {which}",
        "INSERT INTO audit.removal SELECT stream, 'retention', 'x', key, signature FROM audit.head WHERE {which}",
    ],
)
def test_what_cannot_be_read_keeps_no_other_chain_from_its_signature_nor_from_an_export(
    database: str, signer: Signer, verifier: Verifier, tmp_path: Path, altered: str
) -> None:
    log = AuditLog(database)
    asyncio.run(log.append([act(0, tenant) for tenant in ("acme", "globex")]))
    in_database(database, lambda connection: seal(connection, signer))
    asyncio.run(log.append([act(n, tenant) for n in range(2) for tenant in ("acme", "globex")]))
    change(database, altered)
    with pytest.raises(TamperedError, match=r"stream \S+: (record 2 was altered|its signed \w+ was altered)"):
        in_database(database, lambda connection: seal(connection, signer))
    with psycopg.connect(database) as connection:
        signed = connection.execute(
            "SELECT tenant, max(head.number) FROM audit.head JOIN audit.stream ON id = stream GROUP BY 1 ORDER BY 1"
        ).fetchall()
    # the platform's chain: an anchor for each round
    assert signed == [("", 2), ("acme", 1), ("globex", 3)]
    with psycopg.connect(database) as connection:
        row = connection.execute("SELECT id::text FROM audit.stream WHERE tenant = 'acme'").fetchone()
    problems = verify_files(export(database, signer, tmp_path), verifier).problems
    assert row
    assert problems
    assert [problem for problem in problems if row[0] not in str(problem)] == []


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"actor": "jeanne"}, "actor"),
        ({"action": "create"}, "action"),
        ({"details": {"limits": {"eur": 1.5}}}, r"details.limits.eur: float"),
        ({"details": {"made": ["sk-abcdefghijkl"]}}, r"details.made\[0\]: holds the text of a key"),
        ({"details": {"note": "x" * 20_000}}, "details: more than"),
        ({"object": "a\x00b"}, "object: holds characters"),
        ({"at": START.replace(tzinfo=None)}, "at: needs a time zone"),
    ],
)
def test_an_act_that_must_not_be_kept_is_refused_with_its_field(wrong: dict[str, object], words: str) -> None:
    with pytest.raises(ActError, match=words):
        replace(act(1), **wrong)
