import json
import os
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from unit.logs.conftest import Kept, log_store, log_watch

DAY = "2026-11-24"
NOW = datetime(2026, 11, 24, 8, tzinfo=UTC)
BOTH = ("gpu-host-01", "gpu-host-02")


def receive(kept: Kept, sender: str, *numbers: int, day: str = DAY, at: datetime = NOW) -> None:
    kept.receive(sender, day, *(json.dumps({"number": str(n), "message": "x"}, separators=(",", ":")) for n in numbers))
    # what may only be appended to keeps its times too
    log_store.set_flag(kept.path(sender, day), log_store.APPEND_ONLY, on=False)
    os.utime(kept.path(sender, day), (at.timestamp(), at.timestamp()))


def look(kept: Kept, at: datetime = NOW) -> Any:
    return log_watch.look(kept.settings, at)


@pytest.fixture
def busy(kept: Kept) -> Kept:
    """A store to which both hosts sent their first lines."""
    kept.store.prepare(NOW)
    for sender in BOTH:
        receive(kept, sender, 1, 2)
    assert look(kept).problems() == []
    return kept


def test_a_host_that_never_sent_a_line_is_told(kept: Kept) -> None:
    kept.store.prepare(NOW)
    receive(kept, "gpu-host-01", 1)
    (problem,) = look(kept).problems()
    assert problem == "gpu-host-02: no line for as long as this host knows; its logs stopped"


def test_a_host_whose_logs_stop_is_told_and_no_other(busy: Kept) -> None:
    later = NOW + timedelta(seconds=241)
    receive(busy, "gpu-host-01", 3, at=later)
    assert look(busy, later).problems() == ["gpu-host-02: no line for 241 s; its logs stopped"]


def test_a_host_that_speaks_again_is_no_longer_told(busy: Kept) -> None:
    assert set(look(busy, NOW + timedelta(seconds=300)).silent) == set(BOTH)
    for sender in BOTH:
        receive(busy, sender, 3, at=NOW + timedelta(seconds=310))
    assert look(busy, NOW + timedelta(seconds=320)).problems() == []


def test_lines_that_never_came_are_counted_and_told_once(busy: Kept) -> None:
    receive(busy, "gpu-host-01", 3, 7)
    assert look(busy).problems() == ["gpu-host-01: 3 lines never came"]
    found = look(busy)
    assert found.problems() == []
    assert found.senders["gpu-host-01"].missing == 3


def test_lines_are_counted_from_the_end_of_what_a_new_sender_sends_first(kept: Kept) -> None:
    kept.store.prepare(NOW)
    for sender in BOTH:
        receive(kept, sender, 1, 2, 4, 5)
    assert look(kept).problems() == []
    receive(kept, "gpu-host-01", 7)
    assert look(kept).problems() == ["gpu-host-01: 1 lines never came"]


def test_one_number_for_each_new_connection_is_no_line_and_a_longer_gap_is_never_excused(busy: Kept) -> None:
    opened = '{"number":"%d","message":"Syslog connection established"}'
    busy.receive("gpu-host-01", DAY, '{"number":"3"}', '{"number":"5"}', opened % 6, '{"number":"8"}')
    busy.receive("gpu-host-02", DAY, '{"number":"3"}', opened % 6)
    assert look(busy).newly_missing == {"gpu-host-01": 1, "gpu-host-02": 2}
    busy.receive("gpu-host-01", DAY, '{"number":"10"}', opened % 11)
    assert look(busy).problems() == []


def test_a_start_opens_both_connections_and_may_take_two_numbers_at_once(busy: Kept) -> None:
    opened = '{"number":"%d","message":"Syslog connection established"}'
    # as a sender that started anew was seen to number: its first line, its connections, and what followed
    busy.receive("gpu-host-01", DAY, '{"number":"3"}', opened % 6, opened % 7, '{"number":"8"}')
    busy.receive("gpu-host-02", DAY, '{"number":"3"}', opened % 7, opened % 8)
    assert look(busy).newly_missing == {"gpu-host-02": 3}


def test_lines_that_are_sent_again_and_numbers_that_begin_anew_are_no_loss(busy: Kept) -> None:
    receive(busy, "gpu-host-01", 3, 4, 2, 3, 4, 5)
    receive(busy, "gpu-host-02", 1, 2, 3)
    assert look(busy).problems() == []


def test_the_end_of_a_day_loses_nothing_from_sight(busy: Kept) -> None:
    midnight = datetime(2026, 11, 25, 0, 0, 30, tzinfo=UTC)
    busy.store.prepare(midnight)
    for sender in BOTH:
        receive(busy, sender, 3, at=midnight)
        receive(busy, sender, 5, day="2026-11-25", at=midnight)
    assert look(busy, midnight).problems() == [f"{sender}: 1 lines never came" for sender in BOTH]


def test_half_a_line_is_read_when_it_is_whole(busy: Kept) -> None:
    with busy.path("gpu-host-01", DAY).open("a") as file:
        file.write('{"number":"3"')
    look(busy)
    busy.receive("gpu-host-01", DAY, ',"message":"x"}', '{"number":"4"}')
    assert look(busy).senders["gpu-host-01"].number == 4
    assert look(busy).senders["gpu-host-01"].missing == 0


def test_a_full_store_is_told(busy: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 4, "total": 100})
    monkeypatch.setattr(log_watch.shutil, "disk_usage", lambda _path: usage)
    assert look(busy).problems() == ["the store is full: 4.0% free"]


def test_prometheus_is_told_of_every_host(busy: Kept) -> None:
    receive(busy, "gpu-host-02", 4)
    look(busy, NOW + timedelta(seconds=300))
    text = (busy.settings.status / "llmaas_logs.prom").read_text()
    assert f'llmaas_log_last_line_timestamp_seconds{{sender="gpu-host-01"}} {NOW.timestamp()}' in text
    assert 'llmaas_log_silent{sender="gpu-host-01"} 1.0' in text
    assert 'llmaas_log_missing_lines_total{sender="gpu-host-02"} 1.0' in text
    assert (busy.settings.status / "llmaas_logs.prom").stat().st_mode & 0o777 == 0o644


def test_days_that_nobody_closed_are_told_after_a_day(busy: Kept) -> None:
    busy.store.prepare(NOW + timedelta(days=1))
    assert look(busy, NOW + timedelta(days=1)).unclosed == 0
    found = look(busy, NOW + timedelta(days=2))
    assert "2 files of days that are over are not closed; see: systemctl status llmaas-log-keep" in found.problems()
    assert "llmaas_log_unclosed_files 2.0" in log_watch.metrics(found, NOW)


def test_files_that_nobody_deleted_are_told_a_day_after_their_time(busy: Kept) -> None:
    list(busy.store.close(NOW + timedelta(days=30)))
    in_time, over = (look(busy, NOW + timedelta(days=days)) for days in (181, 182))
    assert (in_time.overdue, in_time.unclosed) == (0, 0)
    assert over.overdue == 2
    assert "2 files are older than logs are kept; see: systemctl status llmaas-log-keep" in over.problems()
    assert "llmaas_log_overdue_files 2.0" in log_watch.metrics(over, NOW)
    list(busy.store.expire(NOW + timedelta(days=182)))
    assert look(busy, NOW + timedelta(days=182)).overdue == 0
