"""Retention and erasure remove what they must and keep the rest verifiable. Needs PostgreSQL 15's programs."""

import asyncio
import contextlib
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from gateway.audit.doing import START, act, export, in_database, let_pass, note_calls, now
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from llmaas_gateway.audit.export import NoSuchTenantError, Span
from llmaas_gateway.audit.heads import seal
from llmaas_gateway.audit.log import AuditLog
from llmaas_gateway.audit.removal import Retention, erase, retain
from llmaas_gateway.audit.requests import chain_all
from llmaas_gateway.audit.signing import Signer, Verifier
from llmaas_gateway.audit.verify import Report, verify_files

DAY = timedelta(days=1)
SET_BACK = "DELETE FROM audit.{} WHERE number > 3 AND stream = (SELECT id FROM audit.stream WHERE tenant = 'acme')"
PERSONAL = "SELECT t::text FROM audit.{} t WHERE t::text ~ 'acme|hash-of-key'"
RETENTION = Retention(acts=3 * DAY, requests=DAY)


def _append(database: str, *tenants: str, count: int = 3) -> None:
    asyncio.run(AuditLog(database).append([act(n, tenant) for tenant in tenants for n in range(count)]))


def _seal(database: str, signer: Signer) -> None:
    in_database(database, lambda connection: seal(connection, signer))


def _retain(database: str, signer: Signer, retention: Retention = RETENTION) -> int:
    return in_database(database, lambda connection: retain(connection, signer, retention, now(database)))


def _erase(database: str, signer: Signer, tenant: str) -> int:
    erased = in_database(
        database, lambda connection: erase(connection, signer, tenant, actor="operator:jeanne", now=START)
    )
    return erased.personal_parts


def _verified(database: str, signer: Signer, verifier: Verifier, folder: Path, span: Span | None = None) -> Report:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return verify_files(export(database, signer, folder, span), verifier)


def test_each_kind_goes_after_its_own_period_and_the_rest_is_verified(
    database: str, signer: Signer, verifier: Verifier, tmp_path: Path
) -> None:
    note_calls(database, ["old-a", "old-b"])
    in_database(database, chain_all)
    _append(database, "acme", "")
    _seal(database, signer)
    let_pass(database, 2)
    assert _retain(database, signer) == 2  # the calls; acts are kept longer
    note_calls(database, ["new"])
    in_database(database, chain_all)
    let_pass(database, 2)
    _append(database, "acme")
    note_calls(database, ["newest"])
    in_database(database, chain_all)
    _seal(database, signer)
    # three acts of the tenant, three of the platform with its anchor, one call; the rest is younger
    assert _retain(database, signer) == 3 + 4 + 1
    _seal(database, signer)
    report = _verified(database, signer, verifier, tmp_path / "all")
    assert report.problems == []
    text = "".join(path.read_text(encoding="utf-8") for path in (tmp_path / "all").iterdir())
    assert "old-a" not in text
    assert "newest" in text
    assert '"reason":"retention"' in text
    assert "audit.retention" in text


def test_an_erased_tenant_leaves_no_personal_data_and_a_chain_that_holds(
    database: str, signer: Signer, verifier: Verifier, tmp_path: Path
) -> None:
    _append(database, "acme", "globex")
    note_calls(database, ["a"])
    _seal(database, signer)
    assert _erase(database, signer, "acme") == 4  # the call was not chained yet, and went too
    _append(database, "globex")
    _seal(database, signer)
    report = _verified(database, signer, verifier, tmp_path / "all")
    assert report.problems == []
    for path in (tmp_path / "all").iterdir():
        text = path.read_text(encoding="utf-8")
        assert "acme" not in text
        assert '"globex"' in text or "Ada" not in text
    with psycopg.connect(database) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'audit'").fetchall()
        for (table,) in tables:
            found = connection.execute(PERSONAL.format(table).encode())
            assert found.fetchall() == [], table


def test_the_facts_of_an_erased_tenant_s_calls_stay(database: str, signer: Signer, tmp_path: Path) -> None:
    note_calls(database, ["paid-for"])
    _erase(database, signer, "acme")
    export(database, signer, tmp_path)
    text = "".join(path.read_text(encoding="utf-8") for path in tmp_path.iterdir())
    assert "paid-for" in text
    assert '"nano_eur":29000' in text


def test_a_tenant_that_is_not_there_or_erased_already_is_named(database: str, signer: Signer) -> None:
    _append(database, "acme")
    _erase(database, signer, "acme")
    for tenant in ("acme", "nobody", ""):
        with pytest.raises(LookupError, match="tenant"):
            _erase(database, signer, tenant)
    span = Span(START - 365 * DAY, START + 36500 * DAY, "acme")
    with pytest.raises(NoSuchTenantError, match="acme"):
        export(database, signer, Path("/nonexistent"), span)


def test_a_tenant_s_own_export_holds_by_itself_and_shows_nobody_else(
    database: str, signer: Signer, verifier: Verifier, tmp_path: Path
) -> None:
    _append(database, "acme", "globex", "")
    note_calls(database, ["a"])
    in_database(database, chain_all)
    _seal(database, signer)
    span = Span(START - 365 * DAY, START + 36500 * DAY, "acme")
    report = _verified(database, signer, verifier, tmp_path / "acme", span)
    assert (report.problems, report.notes, report.records) == ([], [], 4)
    assert "globex" not in "".join(path.read_text(encoding="utf-8") for path in (tmp_path / "acme").iterdir())


def test_an_erasure_amid_writers_breaks_no_chain(
    database: str, signer: Signer, verifier: Verifier, tmp_path: Path
) -> None:
    log, done = AuditLog(database), 0

    async def write() -> None:
        nonlocal done
        for number in range(15):
            while True:
                try:
                    await log.append([act(number, tenant) for tenant in ("", "acme")])
                    break
                except psycopg.errors.SerializationFailure:
                    continue
            done += 1

    async def forget() -> None:
        async with log.connect() as connection:
            for _ in range(5):
                await asyncio.sleep(0.05)
                await seal(connection, signer)
                with contextlib.suppress(LookupError):
                    await erase(connection, signer, "acme", actor="operator:jeanne", now=START)

    async def everything() -> None:
        await asyncio.gather(write(), write(), write(), forget())

    asyncio.run(everything())
    _seal(database, signer)
    report = _verified(database, signer, verifier, tmp_path / "all")
    assert (done, report.problems) == (45, [])
    assert report.records > 90


def test_what_is_overdue_but_was_never_signed_stays(database: str, signer: Signer) -> None:
    _append(database, "acme")
    let_pass(database, 10)
    assert _retain(database, signer) == 0
    _seal(database, signer)
    assert _retain(database, signer) == 3


def test_the_last_calls_of_an_erased_tenant_are_signed_and_go_like_all_others(database: str, signer: Signer) -> None:
    note_calls(database, ["a", "b"])
    _erase(database, signer, "acme")
    _seal(database, signer)
    let_pass(database, 2)
    assert _retain(database, signer) == 2


def test_records_deleted_without_a_signed_removal_are_named(
    database: str, signer: Signer, verifier: Verifier, tmp_path: Path
) -> None:
    _append(database, "acme", count=5)
    _seal(database, signer)
    with psycopg.connect(database) as connection:
        connection.execute("SET LOCAL llmaas.audit_removal = 'on'")
        connection.execute("DELETE FROM audit.record WHERE number <= 2")
    report = _verified(database, signer, verifier, tmp_path / "all")
    assert any("records before 3 are gone without a signed removal" in problem.text for problem in report.problems)


def test_a_chain_set_back_in_the_database_is_found_by_the_platform_s_anchors(
    database: str, signer: Signer, verifier: Verifier, tmp_path: Path
) -> None:
    _append(database, "acme", count=5)
    _seal(database, signer)
    with psycopg.connect(database) as connection:
        connection.execute("SET LOCAL llmaas.audit_removal = 'on'")
        for table in ("record", "head"):
            connection.execute(SET_BACK.format(table).encode())
        connection.execute(
            "UPDATE audit.stream SET number = 3,"
            " hash = (SELECT hash FROM audit.record WHERE number = 3 AND stream = id) WHERE tenant = 'acme'"
        )
    report = _verified(database, signer, verifier, tmp_path / "all")
    assert any("records 4 to 5 are gone" in problem.text for problem in report.problems)


def test_a_period_shorter_than_a_day_is_refused() -> None:
    with pytest.raises(ValueError, match="requests: kept for"):
        Retention(acts=DAY, requests=timedelta(hours=1))


STEPS = st.lists(st.sampled_from(["acts", "calls", "seal", "age", "retain", "erase"]), min_size=3, max_size=10)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_whatever_goes_in_whatever_order_the_rest_is_verified(
    database: str, signer: Signer, verifier: Verifier, tmp_path: Path, steps: list[str]
) -> None:
    for number, step in enumerate(steps):
        if step == "acts":
            _append(database, "acme", "globex")
        elif step == "calls":
            note_calls(database, [f"{tmp_path}-{number}-{datetime.now(UTC).timestamp()}"])
            in_database(database, chain_all)
        elif step == "seal":
            _seal(database, signer)
        elif step == "age":
            let_pass(database, 2)
        elif step == "retain":
            _retain(database, signer)
        else:
            _append(database, "acme", count=1)
            _erase(database, signer, "acme")
    _append(database, "acme", count=1)
    assert _verified(database, signer, verifier, tmp_path / "all").problems == []
