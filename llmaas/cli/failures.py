"""How commands of the lab and its images tell what failed."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.markup import escape

from lab.errors import LabError
from llmaas.settings import SettingsError

console = Console(stderr=True)


@contextmanager
def told() -> Iterator[None]:
    """Turn errors of the lab, and mistakes of a stack file, into what failed, where its log is and what to do."""
    try:
        yield
    except LabError as error:
        console.print(f"[bold red]failed:[/] {escape(error.what)}", highlight=False, soft_wrap=True)
        if error.log:
            console.print(f"log: {escape(str(error.log))}", highlight=False, soft_wrap=True)
        if error.remedy:
            console.print(f"what to do: {escape(error.remedy)}", highlight=False, soft_wrap=True)
        raise typer.Exit(1) from error
    except SettingsError as error:
        console.print(f"[bold red]failed:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        raise typer.Exit(1) from error
    except KeyboardInterrupt as error:
        console.print("interrupted; `make up` goes on from here, `make down` removes what there is")
        raise typer.Exit(130) from error
