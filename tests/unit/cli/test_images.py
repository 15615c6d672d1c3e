"""``llmaas images`` of an environment that is not there or is wrong says so, and what there is."""

import pytest
from typer.testing import CliRunner

from llmaas.cli.images import app


@pytest.mark.parametrize("command", ["build", "lock", "list"])
def test_an_unknown_environment_is_told_with_those_that_there_are(command: str) -> None:
    done = CliRunner().invoke(app, [command, "-e", "nowhere"])
    assert done.exit_code == 1
    assert "stacks/Pulumi.nowhere.yaml: no such file; environments there are: lab, production" in done.stderr
