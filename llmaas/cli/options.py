"""The option that says which environment a command is about, the same wherever one has it.

Without it ``LLMAAS_ENVIRONMENT`` counts, as it does for Ansible's inventory and for the tests of a live environment.
"""

from typing import Annotated, Final

import typer

from llmaas.paths import ENVIRONMENT_VARIABLE

_OPTION: Final = typer.Option("--environment", "-e", envvar=ENVIRONMENT_VARIABLE, help="which stack file, such as lab")

Environment = Annotated[str, _OPTION]
# for a command whose subcommands may do without one
OptionalEnvironment = Annotated[str | None, _OPTION]


def refuse_before_subcommand(context: typer.Context) -> None:
    """A subcommand has the option itself and would not see one that stands before it: it would act on another.

    Raises:
        typer.BadParameter: there is one.
    """
    source = context.get_parameter_source("environment")
    if context.invoked_subcommand is not None and source is not None and source.name == "COMMANDLINE":
        raise typer.BadParameter(f"give it after {context.invoked_subcommand}, not before", param_hint="--environment")
