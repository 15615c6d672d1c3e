"""What is wrong with a stack file, said all at once."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, order=True)
class Problem:
    """One mistake: where it stands (``llmaas:hosts[3].address``), what is wrong and what would be right."""

    path: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}: {self.text}"


class SettingsError(Exception):
    """The description of an environment cannot be used; carries every problem that was found."""

    def __init__(self, source: str, problems: Iterable[Problem]) -> None:
        """``source`` names the stack file (or Pulumi's configuration) the problems stand in."""
        self.source = source
        self.problems = tuple(problems)
        count = len(self.problems)
        head = f"{source}: {count} {'mistake' if count == 1 else 'mistakes'}"
        super().__init__("\n".join([head, *(f"  {problem}" for problem in self.problems)]))


class KeysError(SettingsError):
    """The file can be read, but some of its keys cannot stand where they do."""

    def __init__(self, source: str, problems: Iterable[Problem], sections: dict[str, Any]) -> None:
        """``sections`` are those that can be checked all the same."""
        super().__init__(source, problems)
        self.sections = sections
