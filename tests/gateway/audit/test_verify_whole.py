"""What is gone from the database shows in an export, and what an export leaves out. Needs PostgreSQL 15's programs."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from gateway.audit.doing import START, act, export, in_database, let_pass, now, records_of_another, records_read
from gateway.audit.watching import (
    ACME,
    CUT_HEADS,
    CUT_PERSONAL,
    CUT_RECORDS,
    DAY,
    GONE,
    SET_BACK,
    Clock,
    change,
    check,
)
from llmaas_gateway.audit.export import Span
from llmaas_gateway.audit.heads import seal
from llmaas_gateway.audit.log import AuditLog
from llmaas_gateway.audit.refusals import Refusal, Refusals
from llmaas_gateway.audit.removal import Retention, retain
from llmaas_gateway.audit.signing import Signer, Verifier
from llmaas_gateway.audit.verify import Report, verify_files
from llmaas_gateway.audit.watch import ChainWatch

RETENTION = Retention(acts=3 * DAY, requests=3 * DAY)
REFUSED = "stream = (SELECT id FROM audit.stream WHERE tenant = '' AND kind = 'requests')"
ALTER_ANCHORED = "UPDATE audit.record SET hash = repeat('0', 64) WHERE number > {last} AND {which}"


def _id(database: str) -> str:
    """The chain of the tenant's acts."""
    with psycopg.connect(database) as connection:
        query = "SELECT id::text FROM audit.stream WHERE tenant = 'acme' AND kind = 'acts'"
        row = connection.execute(query).fetchone()
        assert row is not None
        return str(row[0])


def _seal(database: str, signer: Signer) -> None:
    in_database(database, lambda connection: seal(connection, signer))


def _early_and_late(folder: Path) -> tuple[Path, Path]:
    """Two new folders, for an export and one after it."""
    early, late = folder / "early", folder / "late"
    early.mkdir()
    late.mkdir()
    return early, late


def _texts(report: Report) -> list[str]:
    return [problem.text for problem in report.problems]


def test_a_chain_that_was_deleted_whole_is_named(
    filled: str, signer: Signer, verifier: Verifier, tmp_path: Path
) -> None:
    stream = _id(filled)
    change(filled, CUT_PERSONAL, CUT_HEADS, CUT_RECORDS, last=0)
    change(filled, GONE)
    report = verify_files(export(filled, signer, tmp_path), verifier)
    (text,) = _texts(report)
    assert text.startswith(f"stream {stream} is gone, without a signed removal; ")
    assert text.endswith("has an anchor of record 8")


@pytest.mark.parametrize(
    ("set_back", "words"),
    [
        ([], "records 1 to 8 are gone without a signed removal"),
        (["UPDATE audit.stream SET number = 0 WHERE tenant = 'acme' AND kind = 'acts'"], "records 1 to 8 are gone; "),
    ],
)
def test_a_chain_whose_records_were_all_deleted_is_named(  # noqa: PLR0917 - a case and what it happens to
    filled: str, signer: Signer, verifier: Verifier, tmp_path: Path, set_back: list[str], words: str
) -> None:
    change(filled, CUT_PERSONAL, CUT_HEADS, CUT_RECORDS, *set_back, last=0)
    report = verify_files(export(filled, signer, tmp_path), verifier)
    (text,) = _texts(report)
    assert text.startswith(f"stream {_id(filled)}: {words}")


def test_a_chain_that_retention_took_whole_still_holds(
    filled: str, signer: Signer, verifier: Verifier, tmp_path: Path
) -> None:
    let_pass(filled, 2)
    asyncio.run(AuditLog(filled).append([act(1, "globex")]))
    _seal(filled, signer)
    let_pass(filled, 2)
    asyncio.run(AuditLog(filled).append([act(1, "globex")]))
    _seal(filled, signer)
    in_database(filled, lambda connection: retain(connection, signer, RETENTION, now(filled)))
    report = verify_files(export(filled, signer, tmp_path), verifier)
    assert report.problems == []
    words = f"stream {_id(filled)}: 8 records, recorded until "
    assert any(words in note and "deleted by retention, signed on" in note for note in report.notes)
    change(filled, "UPDATE audit.removal SET statement = replace(statement, ':8', ':9') WHERE {which}")
    again = tmp_path / "again"
    again.mkdir()
    (text,) = _texts(verify_files(export(filled, signer, again), verifier))
    assert text.startswith(f"stream {_id(filled)}: its signed removal: the signature does not fit")


def test_a_chain_that_began_after_an_earlier_export_is_not_missed_there(
    filled: str, signer: Signer, verifier: Verifier, tmp_path: Path
) -> None:
    early, late = _early_and_late(tmp_path)
    moment = datetime.now(UTC)
    paths = export(filled, signer, early)
    asyncio.run(AuditLog(filled).append([act(1, "later")]))
    _seal(filled, signer)
    paths += export(filled, signer, late, Span(moment, moment + 365 * DAY))
    report = verify_files(paths, verifier)
    assert report.problems == []
    assert [path.split(":")[0] for path in report.covers] == [str(each / "manifest.jsonl") for each in (early, late)]


def test_files_that_end_before_their_chain_are_noted(
    database: str, signer: Signer, verifier: Verifier, tmp_path: Path
) -> None:
    asyncio.run(AuditLog(database).append([act(n) for n in range(3)]))
    let_pass(database, 2)
    until = now(database) - DAY
    asyncio.run(AuditLog(database).append([act(n) for n in range(2)]))
    _seal(database, signer)
    report = verify_files(export(database, signer, tmp_path, Span(until - 9 * DAY, until, "acme")), verifier)
    assert report.problems == []
    assert [note.partition(": ")[2] for note in report.notes] == ["records 4 to 5 are in no given file"]
    (covered,) = report.covers
    asked = f"recorded from {(until - 9 * DAY).isoformat()} until before {until.isoformat()}"
    assert f": what concerns 'acme' {asked}, as on " in covered


def test_a_chain_that_is_shorter_than_in_an_earlier_export_is_named(
    filled: str, signer: Signer, verifier: Verifier, tmp_path: Path
) -> None:
    early, late = _early_and_late(tmp_path)
    span = Span(datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC), "acme")
    paths = export(filled, signer, early, span)
    change(filled, CUT_PERSONAL, CUT_HEADS, CUT_RECORDS, SET_BACK, which=ACME)
    report = verify_files(paths + export(filled, signer, late, span), verifier)
    assert any(
        problem.file.startswith(str(late)) and "records 6 to 8 are gone; " in problem.text
        for problem in report.problems
    )


def test_refusals_of_keys_that_are_none_are_anchored_too(  # noqa: PLR0917 - what is deleted is looked for in two ways
    filled: str, signer: Signer, verifier: Verifier, watch: ChainWatch, clock: Clock, tmp_path: Path
) -> None:
    refusals = Refusals()
    refusals.note(Refusal("", "", "", "", "/v1/completions", 401, "invalid_api_key"), START)
    in_database(filled, refusals.flush)
    _seal(filled, signer)
    assert check(filled, watch, clock) == 1
    change(filled, CUT_PERSONAL, CUT_HEADS, CUT_RECORDS, last=0, which=REFUSED)
    change(filled, "DELETE FROM audit.stream WHERE tenant = '' AND kind = 'requests'")
    assert check(filled, watch, clock) == 0
    again = tmp_path / "again"
    again.mkdir()
    (text,) = _texts(verify_files(export(filled, signer, again), verifier))
    assert text.endswith("has an anchor of record 1")


def test_an_anchor_is_compared_whatever_the_order_of_the_files(
    filled: str, signer: Signer, verifier: Verifier, tmp_path: Path
) -> None:
    refusals = Refusals()
    refusals.note(Refusal("", "", "", "", "/v1/completions", 401, "invalid_api_key"), START)
    in_database(filled, refusals.flush)
    _seal(filled, signer)
    change(filled, ALTER_ANCHORED, CUT_HEADS, which=REFUSED, last=0)
    paths = export(filled, signer, tmp_path)
    acts = next(path for path in paths if path.name.startswith("audit-platform-acts"))
    paths = [path for path in paths if path != acts] + [acts.rename(tmp_path / "z.jsonl")]
    report = verify_files(paths, verifier)
    assert any("record 1 is not the one that" in problem.text for problem in report.problems)


def _two_exports(database: str, signer: Signer, folder: Path, *between: str) -> tuple[list[Path], list[Path]]:
    """An export, and one after statements were executed; the second one of everything as well."""
    early, late = _early_and_late(folder)
    paths = export(database, signer, early)
    if between:
        change(database, *between)
    asyncio.run(AuditLog(database).append([act(n) for n in range(2)]))
    _seal(database, signer)
    return paths, export(database, signer, late)


def test_what_two_exports_both_have_is_compared_and_noted(
    filled: str, signer: Signer, verifier: Verifier, tmp_path: Path
) -> None:
    early, late = _two_exports(filled, signer, tmp_path)
    report = verify_files(late + early, verifier)
    assert report.problems == []
    stream = _id(filled)
    (note,) = [note for note in report.notes if note.startswith(str(tmp_path / "late" / f"audit-{stream}"))]
    assert note.partition(": ")[2].startswith("records 1 to 8 are in ")
    assert note.endswith(" too, and the same")


def test_a_record_that_is_another_one_in_a_later_export_is_named(
    filled: str, signer: Signer, verifier: Verifier, tmp_path: Path
) -> None:
    rewrite = "UPDATE audit.record SET hash = repeat('0', 64) WHERE number = 5 AND {which}"
    early, late = _two_exports(filled, signer, tmp_path, rewrite)
    report = verify_files(early + late, verifier)
    found = [problem for problem in report.problems if "is not the one that is in " in problem.text]
    assert [problem.text.split(" is ")[0] for problem in found] == ["record 5"]
    assert found[0].file.startswith(str(tmp_path / "late"))


def test_parts_of_what_another_file_has_whole_leave_no_gap(
    database: str, signer: Signer, verifier: Verifier, tmp_path: Path
) -> None:
    days = []
    for _ in range(3):
        asyncio.run(AuditLog(database).append([act(n) for n in range(3)]))
        _seal(database, signer)
        days.append(now(database))
        let_pass(database, 1)
    paths = []
    long_ago, later = days[0] - 9 * DAY, days[2] + DAY
    for name, since, until in (("a", long_ago, later), ("b", long_ago, days[0]), ("c", days[1], later)):
        (tmp_path / name).mkdir()
        paths += export(database, signer, tmp_path / name, Span(since, until, "acme"))
    report = verify_files(paths, verifier)
    assert report.problems == []
    shared = [note.partition(": ")[2].split(" are ")[0] for note in report.notes if note.endswith("and the same")]
    assert shared == ["records 1 to 3", "records 7 to 9"]


def test_an_export_of_a_tenant_reads_no_other_one_s_records(filled: str, signer: Signer, tmp_path: Path) -> None:
    records_of_another(filled)
    before = records_read(filled)
    moment = datetime.now(UTC)
    export(filled, signer, tmp_path, Span(moment - DAY, moment + DAY, "acme"))
    assert records_read(filled) - before < 1000
