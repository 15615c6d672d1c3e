"""The check of all chains finds what was altered or is missing, and nothing else. Needs PostgreSQL 15's programs."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from gateway.audit.doing import START, act, in_database
from gateway.audit.watching import (
    ALTER,
    CUT_HEADS,
    CUT_PERSONAL,
    CUT_RECORDS,
    DAY,
    GONE,
    MEND,
    PLATFORM,
    REMOVE,
    SET_BACK,
    Clock,
    change,
    check,
    told,
    turn,
)
from llmaas_gateway.audit.log import AuditLog
from llmaas_gateway.audit.removal import Retention, erase, retain
from llmaas_gateway.audit.signing import Signer
from llmaas_gateway.audit.watch import ChainWatch


def test_chains_as_they_were_written_are_intact(filled: str, watch: ChainWatch, clock: Clock) -> None:
    assert told(watch) == (None, None)
    assert check(filled, watch, clock) == 1
    asyncio.run(AuditLog(filled).append([act(9)]))
    assert check(filled, watch, clock) == 1


def test_nothing_recorded_yet_is_intact(database: str, watch: ChainWatch, clock: Clock) -> None:
    assert check(database, watch, clock) == 1


@pytest.mark.parametrize(
    ("statements", "words"),
    [
        ([ALTER], "record 2 was altered"),
        (["UPDATE audit.record SET at = '2026-01-01' WHERE number = 2 AND {which}"], "record 2 was altered"),
        (["UPDATE audit.record SET body = body || ' ' WHERE number = 2 AND {which}"], "record 2 was altered"),
        ([REMOVE], "records 3 to 4 are missing"),
        (["DELETE FROM audit.record WHERE number = 1 AND {which}"], "records 1 to 1 are missing"),
        ([CUT_RECORDS], "records 6 to 8 are missing"),
        ([CUT_RECORDS, SET_BACK], "a signed head vouches for record 8"),
        ([CUT_PERSONAL, CUT_HEADS, CUT_RECORDS, SET_BACK], "an anchor of record 8"),
        (["UPDATE audit.personal SET salt = '' WHERE number = 2 AND {which}"], "personal part of record 2 was altered"),
        (["DELETE FROM audit.personal WHERE number = 2 AND {which}"], "personal part of record 2 is gone"),
        (["UPDATE audit.head SET statement = replace(statement, ':8', ':7') WHERE {which}"], "signed head was altered"),
        (["UPDATE audit.head SET statement = 'x' WHERE {which}"], "signed head was altered"),
    ],
)  # fmt: skip
def test_what_was_altered_or_removed_is_found_and_told(  # noqa: PLR0917 - a case and what it happens to
    filled: str, watch: ChainWatch, clock: Clock, caplog: pytest.LogCaptureFixture, statements: list[str], words: str
) -> None:
    assert check(filled, watch, clock) == 1
    change(filled, *statements)
    assert check(filled, watch, clock) == 0
    assert words in caplog.text
    assert check(filled, watch, clock) == 0


def test_a_whole_chain_that_is_gone_is_found(
    filled: str, watch: ChainWatch, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    change(filled, CUT_PERSONAL, CUT_HEADS, CUT_RECORDS, last=0)
    change(filled, GONE)
    assert check(filled, watch, clock) == 0
    assert "an anchor of record 8" in caplog.text


@pytest.mark.parametrize("last", [3, 9])
def test_the_end_of_the_platform_s_own_chain_is_known_from_the_last_check(
    filled: str, watch: ChainWatch, clock: Clock, caplog: pytest.LogCaptureFixture, last: int
) -> None:
    assert check(filled, watch, clock) == 1
    change(filled, CUT_HEADS, CUT_RECORDS, SET_BACK, last=last, which=PLATFORM)
    asyncio.run(AuditLog(filled).append([act(n, "") for n in range(9)]))
    assert check(filled, watch, clock) == 0
    assert "record 10, which was checked before, is gone or another" in caplog.text
    assert check(filled, watch, clock) == 0


def test_what_is_put_back_is_intact_again(filled: str, watch: ChainWatch, clock: Clock) -> None:
    change(filled, ALTER)
    assert check(filled, watch, clock) == 0
    change(filled, MEND)
    assert check(filled, watch, clock) == 1


def test_what_the_law_lets_go_is_no_alteration(filled: str, signer: Signer, watch: ChainWatch, clock: Clock) -> None:
    assert check(filled, watch, clock) == 1
    in_database(filled, lambda c: retain(c, signer, Retention(DAY, DAY), datetime.now(UTC) + 2 * DAY))
    assert check(filled, watch, clock) == 1
    asyncio.run(AuditLog(filled).append([act(n) for n in range(3)]))
    in_database(filled, lambda c: erase(c, signer, "acme", actor="operator:jeanne", now=START))
    assert check(filled, watch, clock) == 1


def test_nothing_is_due_before_its_time(filled: str, watch: ChainWatch, clock: Clock) -> None:
    assert check(filled, watch, clock) == 1
    change(filled, REMOVE)
    clock.now += timedelta(seconds=899)
    turn(filled, watch)
    assert told(watch) == (1, (clock.now - timedelta(seconds=899)).timestamp())


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit.watch SET statement = replace(statement, '\"running\":false', '\"running\":true ')",
        "UPDATE audit.watch SET key = repeat('0', 32)",
        "UPDATE audit.watch SET statement = 'x'",
        "DELETE FROM audit.watch",
    ],
)
def test_progress_that_is_not_the_gateway_s_own_is_of_no_use(
    filled: str, watch: ChainWatch, clock: Clock, statement: str
) -> None:
    assert check(filled, watch, clock) == 1
    change(filled, REMOVE, statement)
    turn(filled, watch)
    assert told(watch) == (0, clock.now.timestamp())


def test_what_cannot_be_read_is_no_audit(filled: str, watch: ChainWatch, clock: Clock) -> None:
    assert check(filled, watch, clock) == 1
    change(
        filled,
        "UPDATE audit.record SET hash = repeat('0', 64) WHERE number = 8 AND {which}",
        "INSERT INTO audit.removal SELECT id, 'retention', 'x', 'other', '' FROM audit.stream",
    )
    clock.now += timedelta(seconds=900)
    turn(filled, watch)
    assert told(watch)[0] == 0


def test_another_key_of_the_platform_begins_anew(filled: str, watch: ChainWatch, clock: Clock) -> None:
    assert check(filled, watch, clock) == 1
    later = ChainWatch(Signer.from_secret("B" * 43), 900, clock)
    turn(filled, later)
    assert told(later) == (1, clock.now.timestamp())
