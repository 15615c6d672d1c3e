"""How a command that a module runs tells what it says and why it failed."""

import pytest
from ansible_collections.llmaas.host.plugins.module_utils.commands import LAST_LINES, output


def said_by(script: str, *, merged: bool = False) -> str:
    with pytest.raises(ValueError, match="exit code 3") as failed:
        output("sh", "-c", script, merged=merged)
    return str(failed.value).partition("exit code 3: ")[2]


def test_what_a_command_prints_is_given_without_its_complaints() -> None:
    assert output("sh", "-c", "echo one; echo two >&2") == "one\n"


def test_an_accepted_code_is_no_failure_and_any_other_names_the_command() -> None:
    assert output("sh", "-c", "echo none; exit 2", accepted=(0, 2)) == "none\n"
    with pytest.raises(ValueError, match=r"^sh -c exit 2: exit code 2"):
        output("sh", "-c", "exit 2")


def test_a_failure_shows_complaints_and_what_was_printed_only_where_there_are_none() -> None:
    assert said_by("echo a key; echo refused >&2; exit 3") == "refused"
    assert said_by("echo printed; exit 3") == "printed"
    assert said_by("echo printed; echo refused >&2; exit 3", merged=True) == "printed\nrefused"


def test_a_long_failure_shows_its_last_lines() -> None:
    assert said_by("seq 100 >&2; exit 3").split() == [str(number) for number in range(101 - LAST_LINES, 101)]


def test_a_command_hears_what_it_is_given_in_the_environment_of_this_process_and_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KEPT", "kept")
    assert (
        output("sh", "-c", "cat; echo $KEPT $MORE", given="a key ", environment={"MORE": "more"}) == "a key kept more\n"
    )


def test_what_is_no_text_does_not_end_the_module() -> None:
    assert output("printf", "\\377") == "\N{REPLACEMENT CHARACTER}"
