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
