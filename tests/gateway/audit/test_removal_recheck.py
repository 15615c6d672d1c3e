"""Retention signs nothing away: what is overdue is hashed anew before it goes. Needs PostgreSQL 15's programs."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from gateway.audit.doing import act, export, in_database, let_pass, now, records_of_another, records_read
from gateway.audit.watching import ACME, ALTER, DAY, MEND, Clock, change, check, told
from llmaas_gateway.audit.heads import seal
from llmaas_gateway.audit.log import AuditLog
from llmaas_gateway.audit.records import canonical
from llmaas_gateway.audit.removal import Retention, retain
from llmaas_gateway.audit.signing import Signer, Verifier
from llmaas_gateway.audit.stored import TamperedError
from llmaas_gateway.audit.verify import verify_files
from llmaas_gateway.audit.watch import ChainWatch
from llmaas_gateway.audit.worker import Audit, AuditSettings
from llmaas_gateway.chain import Record

RETENTION = Retention(acts=3 * DAY, requests=DAY)
SET_BACK = "UPDATE audit.record SET recorded_at = '2021-01-01' WHERE number <= 8 AND {which}"
REWRITE = "UPDATE audit.record SET body = %s, previous = %s, hash = %s WHERE number = %s AND {which}"
COUNTS = "SELECT tenant, count(*) FROM audit.record JOIN audit.stream ON id = stream GROUP BY 1"
LAST = "SELECT stream, number, at, hash FROM audit.record WHERE {which} ORDER BY number DESC LIMIT 1"


def _retain(database: str, signer: Signer) -> int:
    return in_database(database, lambda connection: retain(connection, signer, RETENTION, now(database)))


def _left(database: str) -> tuple[int, int]:
    """Records of the tenant's acts, and removals of it."""
    with psycopg.connect(database) as connection:
        row = connection.execute(
            f"SELECT (SELECT count(*) FROM audit.record WHERE {ACME}),"  # noqa: S608
            f" (SELECT count(*) FROM audit.removal WHERE {ACME})".encode()
        ).fetchone()
        assert row is not None
        return row[0], row[1]


def _rechain(database: str, start: int, **changed: str) -> None:
    """Rewrite a tenant's record and all after it, in four columns, as somebody could who may do all but sign."""
    with psycopg.connect(database) as connection:
        connection.execute("SET LOCAL session_replication_role = replica")
        query = f"SELECT number, at, body::jsonb, previous FROM audit.record WHERE number >= %s AND {ACME}"  # noqa: S608
        before = None
        for number, at, body, previous in connection.execute(f"{query} ORDER BY number".encode(), [start]).fetchall():
            body |= {"facts": {"actor": "operator:nobody"}, **changed}
            made = Record.make(number, datetime.fromisoformat(at), body, before or previous)
            before = made.hash
            values = [canonical(body), made.previous, made.hash, number]
            connection.execute(REWRITE.format(which=ACME).encode(), values)


def test_records_that_are_made_overdue_stay_and_the_check_tells(
    filled: str, signer: Signer, watch: ChainWatch, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    change(filled, SET_BACK)
    with pytest.raises(TamperedError, match="the time of recording beside record 1 is not the one in it"):
        _retain(filled, signer)
    assert _left(filled) == (8, 0)
    assert check(filled, watch, clock) == 0
    assert "the time of recording beside record 1" in caplog.text


def test_an_altered_record_stays_when_it_is_overdue_and_all_others_go(
    filled: str, signer: Signer, watch: ChainWatch, clock: Clock
) -> None:
    let_pass(filled, 4)
    change(filled, ALTER)
    with pytest.raises(TamperedError, match=r"nothing that is overdue was deleted: record 2 was altered"):
        _retain(filled, signer)
    assert _left(filled) == (8, 0)
    with psycopg.connect(filled) as connection:
        left = connection.execute(
            "SELECT tenant, count(*) FROM audit.record JOIN audit.stream ON id = stream GROUP BY 1"
        )
        # of the platform: the act that tells of the removal of each kind
        assert dict(left.fetchall()) == {"acme": 8, "": 2}
    assert check(filled, watch, clock) == 0
    change(filled, MEND)
    assert _retain(filled, signer) == 8
    assert check(filled, watch, clock) == 1


@pytest.mark.parametrize(
    ("statements", "words"),
    [
        (["DELETE FROM audit.record WHERE number = 1 AND {which}"], "records 1 to 1 are missing"),
        (["DELETE FROM audit.record WHERE number >= 7 AND {which}"], "records 7 to 8 are missing"),
        (["UPDATE audit.head SET statement = 'x' WHERE {which}"], "signed head was altered"),
        (["UPDATE audit.record SET body = '{{' WHERE number = 2 AND {which}"], "record 2 was altered"),
    ],
)
def test_nothing_goes_of_a_chain_that_does_not_hold(
    filled: str, signer: Signer, statements: list[str], words: str
) -> None:
    let_pass(filled, 4)
    change(filled, *statements)
    before = _left(filled)
    with pytest.raises(TamperedError, match=words):
        _retain(filled, signer)
    assert _left(filled) == before


def test_a_chain_rewritten_under_a_signed_head_stays(filled: str, signer: Signer) -> None:
    let_pass(filled, 4)
    _rechain(filled, 5)
    with pytest.raises(TamperedError, match="a signed head vouches for record 8, which is another"):
        _retain(filled, signer)
    assert _left(filled) == (8, 0)


def test_what_postgresql_cannot_read_stays_and_stops_no_other_chain(filled: str, signer: Signer) -> None:
    let_pass(filled, 4)
    _rechain(filled, 8, recorded_at="x")
    with pytest.raises(TamperedError, match="it cannot be read"):
        _retain(filled, signer)
    assert _left(filled) == (8, 0)
    with psycopg.connect(filled) as connection:
        # the platform's anchors are of another record than is there now: evidence, which stays too
        assert dict(connection.execute(COUNTS.encode()).fetchall()) == {"acme": 8, "": 12}


def test_an_altered_head_lets_nothing_go_although_a_later_one_holds(database: str, signer: Signer) -> None:
    for _ in range(2):
        let_pass(database, 4)
        asyncio.run(AuditLog(database).append([act(n) for n in range(4)]))
        in_database(database, lambda connection: seal(connection, signer))
    change(database, "UPDATE audit.head SET signature = repeat('0', 128) WHERE number = 4 AND {which}")
    with pytest.raises(TamperedError, match="the signed head of record 4 or of one after it was altered"):
        _retain(database, signer)
    assert _left(database) == (8, 0)


def test_a_late_record_with_an_old_date_takes_none_along(filled: str, signer: Signer) -> None:
    with psycopg.connect(filled) as connection:
        row = connection.execute(LAST.format(which=ACME).encode()).fetchone()
        assert row is not None
        stream, number, at, previous = str(row[0]), row[1] + 1, row[2], row[3]
        old = datetime(2000, 1, 1, tzinfo=UTC)
        body = {"stream": stream, "recorded_at": old.isoformat(), "facts": {}, "personal": None}
        made = Record.make(number, datetime.fromisoformat(at), body, previous)
        connection.execute(
            "INSERT INTO audit.record (stream, number, at, recorded_at, body, previous, hash)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s)",
            [stream, number, at, old, canonical(body), previous, made.hash],
        )
        connection.execute("UPDATE audit.stream SET number = %s, hash = %s WHERE id = %s", [number, made.hash, stream])
    in_database(filled, lambda connection: seal(connection, signer))
    assert _retain(filled, signer) == 0
    assert _left(filled) == (9, 0)


def test_much_that_is_overdue_goes_in_rounds(
    filled: str, signer: Signer, verifier: Verifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmaas_gateway.audit.removal.MOST", 6)
    monkeypatch.setattr("llmaas_gateway.audit.removal._SLICE", 2)
    let_pass(filled, 4)
    rounds = []
    while not rounds or rounds[-1]:
        rounds.append(_retain(filled, signer))
    # eight acts each of two tenants, ten of the platform with its anchors, eight calls
    assert (sum(rounds), max(rounds)) == (34, 6)
    in_database(filled, lambda connection: seal(connection, signer))
    asyncio.run(AuditLog(filled).append([act(1)]))
    report = verify_files(export(filled, signer, tmp_path), verifier)
    assert report.problems == []
    with psycopg.connect(filled) as connection:
        row = connection.execute(f"SELECT statement::jsonb FROM audit.removal WHERE {ACME}".encode()).fetchone()  # noqa: S608
        assert row is not None
        until, signed_at = row[0]["until"], row[0]["signed_at"]
    words = f"8 records, recorded until {until}, were deleted by retention, signed on {signed_at}"
    assert any(words in note for note in report.notes)


def test_a_record_exported_under_another_month_than_it_was_hashed_with_is_named(
    filled: str, signer: Signer, verifier: Verifier, tmp_path: Path
) -> None:
    change(filled, SET_BACK)
    report = verify_files(export(filled, signer, tmp_path), verifier)
    assert {problem.text.split(":")[0] for problem in report.problems} == {
        f"record {number} is of another month" for number in range(1, 9)
    }


def test_what_is_not_overdue_is_not_read(filled: str, signer: Signer) -> None:
    let_pass(filled, 4)
    records_of_another(filled)
    before = records_read(filled)
    assert _retain(filled, signer) == 34
    assert records_read(filled) - before < 1000


def test_no_replica_waits_for_another_one_s_retention(filled: str, signer: Signer) -> None:
    let_pass(filled, 4)
    with psycopg.connect(filled) as other:
        other.execute("SELECT pg_advisory_xact_lock(hashtext('audit.removal'))")
        assert _retain(filled, signer) == 0
    assert _retain(filled, signer) == 34


def test_the_worker_tells_prometheus_of_what_only_retention_sees(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    audit = Audit(database, "A" * 43, AuditSettings(acts_days=3, requests_days=1, check_seconds=1))
    for days in (-4, 4):
        let_pass(database, days)
        asyncio.run(AuditLog(database).append([act(n) for n in range(4)]))
        in_database(database, lambda connection: seal(connection, audit.signer))

    async def run(wanted: float) -> None:
        async with audit.running():
            for _ in range(100):
                await asyncio.sleep(0.05)
                if told(audit.watch) == (wanted, pytest.approx(datetime.now(UTC).timestamp(), abs=5)):
                    return
        pytest.fail(f"{told(audit.watch)}")

    change(database, "UPDATE audit.head SET signature = reverse(signature) WHERE number = 4 AND {which}")
    asyncio.run(run(0))
    assert _left(database) == (8, 0)
    assert "the signed head of record 4 or of one after it was altered" in caplog.text
    change(database, "UPDATE audit.head SET signature = reverse(signature) WHERE number = 4 AND {which}")
    asyncio.run(run(1))
    assert _left(database) == (4, 1)


def test_the_worker_goes_on_at_once_while_more_is_overdue(monkeypatch: pytest.MonkeyPatch, database: str) -> None:
    rounds: list[int] = []

    async def many(*_: object) -> int:
        rounds.append(200_000 if len(rounds) < 2 else 7)
        return rounds[-1]

    monkeypatch.setattr("llmaas_gateway.audit.worker.retain", many)
    audit = Audit(database, "A" * 43, AuditSettings(acts_days=3, requests_days=1))

    async def run() -> None:
        async with audit.running():
            for _ in range(100):
                await asyncio.sleep(0.05)
                if len(rounds) == 3:
                    return

    asyncio.run(run())
    assert rounds == [200_000, 200_000, 7]
