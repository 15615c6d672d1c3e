import json
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lab.machine import boot_id, process_start
from lab.processes import Process, ProcessTable


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


def recorded(process: subprocess.Popen[bytes]) -> Process:
    ticks = process_start(process.pid)
    assert ticks is not None
    return Process("some", process.pid, ticks, boot_id())


def test_a_recorded_process_is_found_alive_and_can_be_ended(sleeper: subprocess.Popen[bytes]) -> None:
    process = recorded(sleeper)
    assert process.alive()
    process.send(signal.SIGTERM)
    assert process.wait_ended(5)


@pytest.mark.parametrize("change", [{"start_ticks": 1}, {"boot": "another-boot"}])
def test_a_process_that_took_over_a_recorded_number_is_never_signalled(
    sleeper: subprocess.Popen[bytes], change: dict[str, object]
) -> None:
    stale = replace(recorded(sleeper), **change)  # type: ignore[arg-type]
    assert not stale.alive()
    stale.send(signal.SIGKILL)
    assert recorded(sleeper).alive()


def test_an_ended_process_that_nobody_reaped_is_not_alive() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    while process_start(child) is not None:
        pass
    assert Path(f"/proc/{child}").exists()
    os.waitpid(child, 0)


@pytest.mark.parametrize("content", ["", "{", '{"pid": 1}', "[]", "null"])
def test_half_written_records_count_as_nothing_running(tmp_path: Path, content: str) -> None:
    (tmp_path / "host.json").write_text(content)
    assert ProcessTable.at(tmp_path).running() == ()


def test_a_record_names_the_process_it_was_written_for(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    process = recorded(sleeper)
    (tmp_path / "some.json").write_text(json.dumps(process.__dict__))
    assert ProcessTable.at(tmp_path).get("some") == process
