"""``llmaas secrets``: which secrets an environment has. Their values are never printed."""

import typer

from llmaas.cli.options import Environment
from llmaas.secrets import SecretStore

app = typer.Typer(help="The secrets of an environment, by name.", no_args_is_help=True)


@app.callback()
def _subject() -> None:
    """The secrets of an environment, by name."""


@app.command("list")
def list_secrets(environment: Environment) -> None:
    """Print the name of every secret that was made so far, one a line."""
    for name in SecretStore.open(environment).names():
        print(name)
