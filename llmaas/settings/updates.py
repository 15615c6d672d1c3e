"""Updates that the operator approved: what hosts upgrade at night, and nothing else."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, StringConstraints

from llmaas.paths import stack_file
from llmaas.settings.beside import read_beside
from llmaas.settings.errors import Problem, SettingsError
from llmaas.settings.types import Day, HostName, Section

FILE: Final = "approved-updates.yaml"

Package = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9+.-]+$")]
PackageVersion = Annotated[str, StringConstraints(pattern=r"^[0-9][A-Za-z0-9.+:~-]*$")]


class ApprovedUpdate(Section):
    """One package in one version."""

    package: Package = Field(description="the name of a Debian package")
    version: PackageVersion = Field(description="the version as apt prints it, such as 3.0.17-1~deb12u3")
    environments: tuple[HostName, ...] = Field(
        default=(), description="the environments it is approved for, such as lab; left away, all of them"
    )
    approved: Day = Field(description="the day of the approval, as 2026-11-25")
    reason: Annotated[str, StringConstraints(min_length=3, max_length=300)] = Field(
        description="why, such as the number of the security advice"
    )


class _Document(Section):
    updates: tuple[ApprovedUpdate, ...] = Field(description="a list of updates, which may be empty")


def load_updates(environment: str, path: Path | None = None) -> tuple[ApprovedUpdate, ...]:
    """What is approved for an environment, in the order of the file.

    Raises:
        SettingsError: the file cannot be read or is wrong; every mistake with its place and what would be right.
    """
    source = path or stack_file("any").with_name(FILE)
    updates = read_beside(source, _Document, ApprovedUpdate).updates
    found = tuple(each for each in updates if not each.environments or environment in each.environments)
    doubled = [name for name, count in Counter(each.package for each in found).items() if count > 1]
    if doubled:
        problems = [
            Problem("updates", f"{name} is approved in two versions for {environment}; keep one") for name in doubled
        ]
        raise SettingsError(f"stacks/{source.name}", problems)
    return found
