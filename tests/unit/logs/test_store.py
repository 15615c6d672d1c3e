import gzip
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from llmaas_gateway import chain
from unit.logs.conftest import Kept, llmaas_logs, log_store

DAY = "2026-11-24"
MORNING = datetime(2026, 11, 24, 8, tzinfo=UTC)
NEXT_MORNING = MORNING + timedelta(days=1)


def closed(kept: Kept) -> list[str]:
    kept.store.prepare(MORNING)
    kept.receive("gpu-host-01", DAY, '{"message":"one"}', '{"message":"two"}')
    done: list[str] = list(kept.store.close(NEXT_MORNING))
    return done


def flag_or_skip(kept: Kept) -> None:
    if not log_store.has_flag(kept.path("gpu-host-01", DAY), log_store.APPEND_ONLY):
        pytest.skip("this file system, or this user, has no append-only files")


def test_files_are_there_a_week_ahead_and_their_folders_belong_to_whoever_keeps_them(kept: Kept) -> None:
    kept.store.prepare(MORNING)
    names = sorted(path.name for path in (kept.settings.store / "hosts" / "gpu-host-02").iterdir())
    assert names == [f"2026-{month}-{day:02}.jsonl" for month, day in [*((11, d) for d in range(24, 31)), (12, 1)]]
    for path in (kept.settings.store / "hosts").rglob("*"):
        assert path.stat().st_uid == os.geteuid()
        assert path.stat().st_mode & 0o777 == (0o750 if path.is_dir() else 0o620)


def test_the_file_system_itself_refuses_to_change_or_delete_lines(kept: Kept) -> None:
    kept.store.prepare(MORNING)
    flag_or_skip(kept)
    kept.receive("gpu-host-01", DAY, "line")
    path = kept.path("gpu-host-01", DAY)
    for change in (path.unlink, lambda: path.write_text("other"), lambda: os.truncate(path, 0)):
        with pytest.raises(PermissionError):
            change()
    assert path.read_text() == "line\n"


def test_a_day_stays_open_until_half_an_hour_after_its_end(kept: Kept) -> None:
    kept.store.prepare(MORNING)
    kept.receive("gpu-host-01", DAY, "line")
    assert list(kept.store.close(datetime(2026, 11, 25, 0, 29, tzinfo=UTC))) == []
    assert len(list(kept.store.close(datetime(2026, 11, 25, 0, 31, tzinfo=UTC)))) == 1


def test_a_closed_day_is_whole_and_in_the_chain(kept: Kept) -> None:
    (done,) = closed(kept)
    assert done.startswith("closed 2026-11-24: 2 senders, chain ")
    packed = kept.path("gpu-host-01", DAY).with_suffix(".jsonl.gz")
    assert gzip.decompress(packed.read_bytes()) == b'{"message":"one"}\n{"message":"two"}\n'
    assert not kept.path("gpu-host-01", DAY).exists()
    # of a day without a line there is the record alone
    assert not kept.path("gpu-host-02", DAY).with_suffix(".jsonl.gz").exists()
    assert kept.store.verify() == []


def test_the_chain_is_in_the_format_of_the_audit(kept: Kept) -> None:
    closed(kept)
    kept.store.prepare(NEXT_MORNING)
    list(kept.store.close(NEXT_MORNING + timedelta(days=1)))
    records = chain.read(kept.settings.store / "chain.jsonl")
    assert [record.body["closed"] for record in records] == [DAY, "2026-11-25"]
    assert records[0].body["files"]["gpu-host-01"]["lines"] == 2


def test_closing_again_changes_nothing(kept: Kept) -> None:
    closed(kept)
    before = {path: path.stat().st_mtime_ns for path in kept.settings.store.rglob("*.gz")}
    assert list(kept.store.close(NEXT_MORNING)) == []
    assert {path: path.stat().st_mtime_ns for path in kept.settings.store.rglob("*.gz")} == before


def test_a_run_that_was_cut_off_is_finished_by_the_next(kept: Kept) -> None:
    kept.store.prepare(MORNING)
    kept.receive("gpu-host-01", DAY, "line")
    # it was cut off after the record and before the open files went
    content = {file.sender: file.digest() for file in kept.store.files() if str(file.day) == DAY}
    kept.store.record({"closed": DAY, "files": content}, NEXT_MORNING)
    assert list(kept.store.close(NEXT_MORNING)) == []
    assert kept.store.verify() == []
    assert not kept.path("gpu-host-01", DAY).exists()


def test_lines_after_closing_are_told_and_nothing_is_overwritten(kept: Kept) -> None:
    closed(kept)
    kept.path("gpu-host-01", DAY).write_text("too late\n")
    with pytest.raises(log_store.StoreError, match="2026-11-24 was closed, and lines came since for gpu-host-01"):
        list(kept.store.close(NEXT_MORNING))
    assert kept.store.verify() == []


def test_a_day_that_cannot_be_closed_keeps_no_other_open_and_none_longer_than_its_time(
    kept: Kept, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    old = MORNING - timedelta(days=200)
    kept.store.prepare(old)
    kept.receive("gpu-host-01", str(old.date()), "old")
    list(kept.store.close(old + timedelta(days=1)))
    closed(kept)
    kept.path("gpu-host-01", DAY).write_text("too late\n")
    kept.store.prepare(NEXT_MORNING)
    kept.receive("gpu-host-01", "2026-11-25", "next day")
    monkeypatch.setattr(llmaas_logs, "utc_now", lambda: NEXT_MORNING + timedelta(days=1))
    assert run(kept, "keep") == 2
    told = capsys.readouterr()
    assert "2026-11-24 was closed, and lines came since for gpu-host-01" in told.err
    assert [line.split(":")[0] for line in told.out.splitlines()] == ["closed 2026-11-25", f"deleted {old.date()}"]
    assert not kept.path("gpu-host-01", str(old.date())).with_suffix(".jsonl.gz").exists()
    assert kept.path("gpu-host-01", DAY).read_text() == "too late\n"


def test_days_are_deleted_though_no_file_can_be_made(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    closed(kept)
    object.__setattr__(kept.settings, "group", "nobody-has-this-group")
    monkeypatch.setattr(llmaas_logs, "utc_now", lambda: MORNING + timedelta(days=181))
    assert run(kept, "keep") == 2
    assert not kept.path("gpu-host-01", DAY).with_suffix(".jsonl.gz").exists()


def test_keeping_twice_does_nothing_the_second_time(
    kept: Kept, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    closed(kept)
    monkeypatch.setattr(llmaas_logs, "utc_now", lambda: NEXT_MORNING)
    assert [run(kept, "keep"), run(kept, "keep")] == [0, 0]
    assert capsys.readouterr() == ("", "")


def unguarded(path: Path) -> Path:
    log_store.set_flag(path, log_store.IMMUTABLE | log_store.APPEND_ONLY, on=False)
    path.chmod(0o600)
    return path


def test_a_change_a_loss_and_a_stranger_are_found(kept: Kept) -> None:
    closed(kept)
    packed = unguarded(kept.path("gpu-host-01", DAY).with_suffix(".jsonl.gz"))
    original = packed.read_bytes()
    packed.write_bytes(gzip.compress(b'{"message":"one"}\n{"message":"2"}\n'))
    assert kept.store.verify() == ["gpu-host-01, 2026-11-24: was changed"]
    packed.write_bytes(original[:-9])
    assert kept.store.verify()[0].startswith("gpu-host-01, 2026-11-24: cannot be read")
    packed.unlink()
    assert kept.store.verify() == ["gpu-host-01, 2026-11-24: is gone"]
    packed.write_bytes(original)
    packed.with_name("2026-11-20.jsonl.gz").write_bytes(original)
    assert kept.store.verify() == ["gpu-host-01, 2026-11-20: was never closed, or is deleted by the chain"]


def test_a_chain_that_was_altered_is_found_and_not_continued(kept: Kept) -> None:
    closed(kept)
    path = unguarded(kept.settings.store / "chain.jsonl")
    path.write_text(path.read_text().replace('"lines": 2', '"lines": 1'))
    assert kept.store.verify()[0].endswith("line 1 was altered, or does not follow the one before")
    kept.store.prepare(NEXT_MORNING)
    with pytest.raises(log_store.StoreError):
        list(kept.store.close(NEXT_MORNING + timedelta(days=1)))


def test_days_are_deleted_after_the_declared_time_and_no_earlier_and_it_is_recorded(kept: Kept) -> None:
    closed(kept)
    packed = kept.path("gpu-host-01", DAY).with_suffix(".jsonl.gz")
    assert list(kept.store.expire(MORNING + timedelta(days=180))) == []
    assert packed.exists()
    (done,) = list(kept.store.expire(MORNING + timedelta(days=181)))
    assert done.startswith("deleted 2026-11-24: 1 senders, kept 180 days, chain ")
    assert not packed.exists()
    assert kept.store.verify() == []
    last = json.loads((kept.settings.store / "chain.jsonl").read_text().splitlines()[-1])
    assert last["body"] == {"deleted": DAY, "senders": ["gpu-host-01"], "reason": "kept 180 days"}


def test_a_day_that_was_never_closed_is_not_deleted(kept: Kept) -> None:
    kept.store.prepare(MORNING)
    kept.receive("gpu-host-01", DAY, "line")
    assert list(kept.store.expire(MORNING + timedelta(days=400))) == []
    assert kept.path("gpu-host-01", DAY).exists()


def run(kept: Kept, *words: str) -> int:
    settings = kept.settings
    path = settings.status / "host.json"
    path.write_text(
        json.dumps(
            {
                "store": str(settings.store),
                "status": str(settings.status),
                "group": settings.group,
                "senders": list(settings.senders),
                "retention_days": settings.retention_days,
                "late_seconds": settings.late_seconds,
            }
        )
    )
    code: int = llmaas_logs.main(list(words), path)
    return code


def test_search_finds_lines_of_open_and_closed_days(kept: Kept, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    closed(kept)
    kept.store.prepare(NEXT_MORNING)
    kept.receive("gpu-host-02", "2026-11-25", '{"message":"two again"}')
    assert run(kept, "search", "tw[o]") == 0
    assert capfdbinary.readouterr().out.splitlines() == [b'{"message":"two"}', b'{"message":"two again"}']
    assert run(kept, "search", "two", "--until", DAY, "--sender", "gpu-host-02") == 1
    assert run(kept, "search", "three") == 1


def test_an_export_has_the_files_the_chain_and_their_hashes(kept: Kept, tmp_path: Path) -> None:
    closed(kept)
    assert run(kept, "export", str(tmp_path / "out"), "--since", DAY) == 0
    hashes = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert set(hashes) == {"chain.jsonl", "hosts/gpu-host-01/2026-11-24.jsonl.gz"}
    assert chain.read(tmp_path / "out" / "chain.jsonl")[0].body["closed"] == DAY
    assert run(kept, "export", str(tmp_path / "out")) == 2


def test_a_sender_that_is_no_host_name_is_refused(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    object.__setattr__(kept.settings, "senders", ("../etc",))
    assert run(kept, "verify") == 2
    assert "['../etc'] are no host names" in capsys.readouterr().err
