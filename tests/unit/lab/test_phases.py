import io
from pathlib import Path

import pytest
from rich.console import Console

from lab.errors import LabError
from lab.layout import Layout
from lab.phases import Phase, run_phases


@pytest.fixture
def here(tmp_path: Path) -> Layout:
    layout = Layout(state=tmp_path, cache=tmp_path)
    layout.logs.mkdir()
    return layout


def quiet() -> Console:
    return Console(file=io.StringIO())


def test_a_phase_that_fails_ends_the_run_and_is_named_with_log_and_remedy(here: Layout) -> None:
    ran: list[str] = []

    def good(_log: Path) -> str:
        ran.append("good")
        return "done"

    def bad(_log: Path) -> str:
        raise LabError("no such thing", remedy="make one")

    phases = [Phase("first", "", good), Phase("second", "", bad), Phase("third", "", good)]
    with pytest.raises(LabError, match="second: no such thing") as raised:
        run_phases(phases, here, quiet())
    assert ran == ["good"]
    assert raised.value.remedy == "make one"
    assert raised.value.log == here.logs / "second.log"


def test_an_error_that_nobody_foresaw_is_in_the_log_whole(here: Layout) -> None:
    def bad(_log: Path) -> str:
        return str(1 // 0)

    with pytest.raises(LabError, match="ZeroDivisionError") as raised:
        run_phases([Phase("only", "", bad)], here, quiet())
    assert "Traceback" in (here.logs / "only.log").read_text()
    assert "make up" in raised.value.remedy
