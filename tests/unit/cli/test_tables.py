"""Tables for people, and for those who search them."""

import pytest

from llmaas.cli.administration import print_table


def test_what_is_piped_has_each_row_whole_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    row = (
        "budget-try",
        "tn-92eb9ad7d4ec",
        "active",
        "199.999859400",
        "0.000140600",
        None,
        ("granite3.3:8b", "llama3.2:3b"),
    )
    print_table(("tenant", "identifier", "state", "credit left €", "spent this month €", "budget €", "models"), [row])
    printed = capsys.readouterr().out
    (line,) = (line for line in printed.splitlines() if "budget-try" in line)
    assert [cell.strip() for cell in line.split("│")[1:-1]] == [*row[:5], "-", "granite3.3:8b, llama3.2:3b"]


def test_what_is_too_wide_for_a_terminal_goes_on_in_the_next_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "20")
    print_table(("identifier", "credit"), [("tn-92eb9ad7d4ec", "199.999859400")])
    cells = [line.split("│")[1:-1] for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    assert ["".join(part.strip() for part in column) for column in zip(*cells, strict=True)] == [
        "tn-92eb9ad7d4ec",
        "199.999859400",
    ]
