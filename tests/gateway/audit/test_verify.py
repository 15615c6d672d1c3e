"""Any single change of an export is found and named by file and line. Needs PostgreSQL 15's programs."""

import asyncio
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from data_servers import PostgresServer
from gateway.audit.doing import START, act, export, in_database, new_database, note_calls
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from llmaas_gateway.audit.heads import seal
from llmaas_gateway.audit.log import AuditLog, Connection
from llmaas_gateway.audit.records import canonical
from llmaas_gateway.audit.removal import erase
from llmaas_gateway.audit.requests import chain_all
from llmaas_gateway.audit.signing import KeyFormatError, Signer, Verifier
from llmaas_gateway.audit.verify import Report, verify_files
from llmaas_gateway.chain import Record

TENANTS = ("acme", "globex", "", "gone")
Change = Callable[[list[str]], None]


@pytest.fixture(scope="module")
def exported(server: PostgresServer, signer: Signer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an export: three tenants, one of them erased, acts, calls, and several signed heads."""
    database = new_database(server)

    async def fill(connection: Connection) -> None:
        log = AuditLog(database)
        for part in range(3):
            await log.append([act(10 * part + n, tenant) for n in range(3) for tenant in TENANTS])
            await seal(connection, signer)
        await asyncio.to_thread(note_calls, database, ["a", "b", "c"])
        await chain_all(connection)
        await erase(connection, signer, "gone", actor="operator:jeanne", now=START)
        await seal(connection, signer)

    in_database(database, fill)
    folder = tmp_path_factory.mktemp("export")
    export(database, signer, folder)
    return folder


def _changed(exported: Path, verifier: Verifier, name: str, change: Change) -> tuple[Report, str]:
    folder = exported.parent / f"{exported.name}-changed"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(exported, folder)
    path = folder / name
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    change(lines)
    path.write_text("".join(lines), encoding="utf-8")
    return verify_files(sorted(folder.iterdir()), verifier), str(path)


def _file(exported: Path, tenant: str | None = "acme", kind: str = "acts") -> str:
    for path in sorted(exported.iterdir()):
        statement = json.loads(path.read_text(encoding="utf-8").splitlines()[0])["statement"]
        if statement["is"] == "file" and (statement["tenant"], statement["kind"]) == (tenant, kind):
            return path.name
    raise LookupError(tenant)


def _record_lines(lines: list[str]) -> list[int]:
    return [index for index, line in enumerate(lines) if line.startswith('{"at":')]


def test_an_export_as_it_is_holds(exported: Path, verifier: Verifier) -> None:
    report = verify_files(sorted(exported.iterdir()), verifier)
    assert report.problems == []
    erased = f"{exported / _file(exported, None)}: the personal parts of 9 records were deleted by an erasure"
    assert report.notes == [f"{erased}, signed on {START.isoformat()}"]
    assert report.files == 6  # manifest, platform, acts of three tenants, requests of one


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_single_change_is_found_and_named(exported: Path, verifier: Verifier, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(path.name for path in exported.iterdir())))
    lines = (exported / name).read_text(encoding="utf-8").splitlines(keepends=True)
    index = data.draw(st.integers(0, len(lines) - 1))
    others = [other for other in range(len(lines)) if lines[other] != lines[index]]
    kinds = ["drop", "insert", "alter", "cut"] + (["swap"] if others else [])
    kind = data.draw(st.sampled_from(kinds))

    def change(lines: list[str]) -> None:
        match kind:
            case "drop":
                del lines[index]
            case "insert":
                lines.insert(data.draw(st.integers(0, len(lines))), lines[index])
            case "swap":
                other = data.draw(st.sampled_from(others))
                lines[index], lines[other] = lines[other], lines[index]
            case "cut":
                keep = data.draw(st.integers(0, len("".join(lines)) - 1))
                lines[:] = ["".join(lines)[:keep]]
            case "alter":
                place = data.draw(st.integers(0, len(lines[index]) - 1))
                letter = data.draw(st.characters(codec="utf-8").filter(lambda c: c != lines[index][place]))
                lines[index] = lines[index][:place] + letter + lines[index][place + 1 :]

    report, path = _changed(exported, verifier, name, change)
    assert any(problem.file == path for problem in report.problems), kind


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=5),
    st.just([]),
    st.just({}),
)


def _places(content: object, path: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    """Paths of all values within JSON."""
    inner: list[tuple[object, object]] = []
    if isinstance(content, dict):
        inner = list(content.items())
    elif isinstance(content, list):
        inner = list(enumerate(content))
    return [found for key, value in inner for found in [(*path, key), *_places(value, (*path, key))]]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_value_replaced_by_any_other_is_found_and_named(
    exported: Path, verifier: Verifier, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(sorted(path.name for path in exported.iterdir())))
    lines = (exported / name).read_text(encoding="utf-8").splitlines(keepends=True)
    index = data.draw(st.integers(0, len(lines) - 1))
    content = json.loads(lines[index])
    *path, last = data.draw(st.sampled_from(_places(content)))
    holder = content
    for key in path:
        holder = holder[key]
    new = data.draw(VALUES.filter(lambda value: canonical(value) != canonical(holder[last])))

    def change(lines: list[str]) -> None:
        holder[last] = new
        lines[index] = canonical(content) + "\n"

    report, changed = _changed(exported, verifier, name, change)
    assert any(problem.file == changed for problem in report.problems), (path, last)


def test_a_record_without_a_time_zone_is_told_and_stops_nothing(exported: Path, verifier: Verifier) -> None:
    def change(lines: list[str]) -> None:
        at = _record_lines(lines)[0]
        content = json.loads(lines[at])
        content["body"]["recorded_at"] = content["body"]["recorded_at"][:19]
        lines[at] = canonical(content) + "\n"

    report, path = _changed(exported, verifier, _file(exported), change)
    assert any(problem.file == path and "no time zone" in problem.text for problem in report.problems)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda lines, at: lines.__setitem__(at, lines[at].replace("jeanne", "joanne")), "record 5 was altered"),
        (lambda lines, at: lines.__setitem__(at, lines[at].replace("Ada", "Eve")), "record 5: its personal part was"),
        (lambda lines, at: lines.__delitem__(at), "record 5 is missing before this line: dropped"),
        (lambda lines, at: lines.insert(at, lines[at]), "record 5 where 6 belongs: inserted or repeated"),
        (
            lambda lines, at: lines.__setitem__(slice(at, at + 2), [lines[at + 1], lines[at]]),
            "record 5 stands after record 6: reordered",
        ),
        (
            lambda lines, at: lines.__delitem__(slice(at, None)),
            "records 5 to 9 are missing at the end",
        ),
        (lambda lines, at: lines.__setitem__(slice(at, None), [lines[at][:30]]), "not JSON: the file was cut"),
    ],
)
def test_what_was_done_to_a_record_is_named(
    exported: Path, verifier: Verifier, change: Callable[[list[str], int], None], words: str
) -> None:
    name, line = _file(exported), 0

    def apply(lines: list[str]) -> None:
        nonlocal line
        line = _record_lines(lines)[4] + 1
        change(lines, line - 1)

    report, path = _changed(exported, verifier, name, apply)
    found = [problem for problem in report.problems if words in problem.text]
    assert [problem.file for problem in found] == [path]
    assert abs(found[0].line - line) <= 1


def _rechained(lines: list[str], start: int) -> None:
    """Rewrite a record and chain everything after it anew, as somebody would who knows how hashes are made."""
    previous = None
    for index in _record_lines(lines):
        content = json.loads(lines[index])
        if content["number"] < start:
            continue
        if content["number"] == start:
            content["body"]["facts"]["actor"] = "operator:nobody"
        record = Record.make(content["number"], START, content["body"], previous or content["previous"])
        content |= {"at": START.isoformat(), "previous": record.previous, "hash": record.hash}
        previous = record.hash
        lines[index] = canonical(content) + "\n"


def test_a_chain_rewritten_to_its_end_is_found_by_its_signed_heads(exported: Path, verifier: Verifier) -> None:
    report, path = _changed(exported, verifier, _file(exported), lambda lines: _rechained(lines, 5))
    texts = [problem.text for problem in report.problems if problem.file == path]
    assert any("a record of 4 to 6 was rewritten" in text for text in texts)
    assert any("record 9 is not the last one that was signed" in text for text in texts)


def test_a_personal_part_that_goes_without_a_signed_erasure_is_named(exported: Path, verifier: Verifier) -> None:
    def strip(lines: list[str]) -> None:
        at = _record_lines(lines)[2]
        lines[at] = canonical({**json.loads(lines[at]), "personal": None}) + "\n"

    report, path = _changed(exported, verifier, _file(exported), strip)
    assert [(p.file, p.text) for p in report.problems] == [
        (path, "record 3: its personal part is gone without a signed erasure: dropped")
    ]


def test_a_signed_removal_that_goes_is_named(exported: Path, verifier: Verifier) -> None:
    report, path = _changed(exported, verifier, _file(exported, None), lambda lines: lines.pop(1))
    texts = [problem.text for problem in report.problems if problem.file == path]
    assert "0 signed removals where 1 belong: dropped or inserted" in texts


def test_a_whole_file_that_is_left_out_is_named_by_the_manifest(exported: Path, verifier: Verifier) -> None:
    left_out = _file(exported, "globex")
    report = verify_files([path for path in sorted(exported.iterdir()) if path.name != left_out], verifier)
    assert [problem.text.split(",")[0] for problem in report.problems] == [f"lists {left_out}"]
    assert any("anchors name" in note for note in report.notes)


def test_one_tenant_s_file_is_verified_by_itself(exported: Path, verifier: Verifier) -> None:
    report = verify_files([exported / _file(exported)], verifier)
    assert (report.holds, report.records) == (True, 9)
    assert any("no manifest" in note for note in report.notes)


def test_another_key_or_none_is_refused(exported: Path, signer: Signer) -> None:
    other = Verifier.from_pems([Signer.from_secret("B" * 43).public_pem()])
    report = verify_files(sorted(exported.iterdir()), other)
    assert (report.holds, report.records) == (False, 0)
    assert all(f"signed with key {signer.key}, which is not among" in problem.text for problem in report.problems)
    with pytest.raises(KeyFormatError, match="llmaas audit key"):
        Verifier.from_pems(["-----BEGIN nonsense"])


@pytest.mark.parametrize("content", [b"", b"\x00\xff\x01", b"{}\n", b'{"a":' + b"[" * 100_000, bytes(range(256))])
def test_what_is_no_audit_file_is_refused_in_clear_words(tmp_path: Path, verifier: Verifier, content: bytes) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(content)
    report = verify_files([path, tmp_path / "absent.jsonl"], verifier)
    assert not report.holds
    assert {problem.file for problem in report.problems} == {str(path), str(tmp_path / "absent.jsonl")}
