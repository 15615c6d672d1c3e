"""The control map: requirements of published frameworks, what proves each, and by which checks."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from llmaas.paths import PROJECT_ROOT

CONTROL_MAP: Final = PROJECT_ROOT / "controls" / "map.yaml"

Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+([.-][a-z0-9]+)*$")]
Number = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]+([.-][A-Za-z0-9]+)*$")]


class MapError(ValueError):
    """A control map that cannot be used; the text has everything that is wrong with it, each with its path."""

    def __init__(self, source: str, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join([f"{source}:", *(f"  {problem}" for problem in self.problems)]))


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Proof(_Part):
    """Something that is shown, and the checks that show it together."""

    says: Text
    checks: Annotated[tuple[Text, ...], Field(min_length=1)]


class Requirement(_Part):
    """One requirement of a framework.

    Attributes:
        id: as the framework numbers it.
        title: what it asks for, in our own words.
        proofs: names of proofs; all of them are needed.
        kind: of a requirement that no check proves: what has to be done is people's work, or the law's.
        operator: what whoever runs the platform must bring; may stand beside proofs that show a part.
    """

    id: Number
    title: Text
    proofs: tuple[Slug, ...] = ()
    kind: Literal["organisational", "legal"] | None = None
    operator: Text | None = None


class Framework(_Part):
    """A published text, and which of its requirements stand here.

    ``left_out`` says which do not and why; empty if all stand here. ``left_out_ids`` names them one by one where each
    has to be told apart from one that was forgotten.
    """

    id: Slug
    title: Text
    publisher: Text
    left_out: str = ""
    left_out_ids: tuple[Number, ...] = ()
    requirements: Annotated[tuple[Requirement, ...], Field(min_length=1)]


class Unmapped(_Part):
    """A check, or a folder of checks, that proves no requirement."""

    check: Text
    reason: Text


class ControlMap(_Part):
    """All of it, as of one day."""

    date: date
    proofs: Mapping[Slug, Proof]
    frameworks: tuple[Framework, ...]
    unmapped: tuple[Unmapped, ...] = ()

    def checks_of(self, requirement: Requirement) -> tuple[str, ...]:
        """The checks that a requirement stands on, each once, in the map's order."""
        return tuple(dict.fromkeys(check for name in requirement.proofs for check in self.proofs[name].checks))

    @property
    def checks(self) -> tuple[str, ...]:
        """Every check that some proof names, sorted."""
        return tuple(sorted({check for proof in self.proofs.values() for check in proof.checks}))

    def requirements(self) -> Iterator[tuple[Framework, Requirement]]:
        """Every requirement with its framework."""
        for framework in self.frameworks:
            for requirement in framework.requirements:
                yield framework, requirement


def load_control_map(path: Path = CONTROL_MAP) -> ControlMap:
    """Read and judge a control map.

    Raises:
        MapError: it cannot be read, or does not agree with itself.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        found = ControlMap.model_validate(content)
    except OSError as error:
        raise MapError(str(path), [f"cannot be read: {error.strerror}"]) from error
    except yaml.YAMLError as error:
        raise MapError(str(path), [f"is no YAML: {error}"]) from error
    except ValidationError as error:
        places = ((".".join(str(part) for part in each["loc"]) or "the map", each["msg"]) for each in error.errors())
        raise MapError(str(path), [f"{place}: {message}" for place, message in places]) from error
    if problems := list(_disagreements(found)):
        raise MapError(str(path), problems)
    return found


def _disagreements(found: ControlMap) -> Iterator[str]:
    used = {name for _, requirement in found.requirements() for name in requirement.proofs}
    for name in found.proofs.keys() - used:
        yield f"proofs.{name}: no requirement uses it; name it in one, or list its checks as unmapped"
    for name, count in Counter(framework.id for framework in found.frameworks).items():
        if count > 1:
            yield f"frameworks: {name} stands here {count} times; keep one"
    for framework in found.frameworks:
        for number, count in Counter(each.id for each in framework.requirements).items():
            if count > 1:
                yield f"{framework.id} {number}: stands here {count} times; keep one"
        yield from (f"{framework.id} {number}: {problem}" for number, problem in _doubts_of_left_out(framework))
        for requirement in framework.requirements:
            yield from (f"{framework.id} {requirement.id}: {problem}" for problem in _faults(found, requirement))
    mapped = set(found.checks)
    for entry in found.unmapped:
        if entry.check in mapped:
            yield f"unmapped {entry.check}: a proof names it too; take it out of one of the two"


def _doubts_of_left_out(framework: Framework) -> Iterator[tuple[str, str]]:
    here = {requirement.id for requirement in framework.requirements}
    for number, count in Counter(framework.left_out_ids).items():
        if number in here:
            yield number, "stands here and is left out; keep one"
        if count > 1:
            yield number, f"is left out {count} times; keep one"
        if not framework.left_out:
            yield number, "is left out; say why in `left_out`"


def _faults(found: ControlMap, requirement: Requirement) -> Iterator[str]:
    for name in requirement.proofs:
        if name not in found.proofs:
            yield f"proof {name} is not there; proofs are: {', '.join(sorted(found.proofs))}"
    if requirement.proofs and requirement.kind:
        yield "has proofs and a kind; the kind is for what no check proves, say the operator's part in `operator`"
    if not requirement.proofs and not (requirement.kind and requirement.operator):
        yield "has no proof; name `kind` (organisational or legal) and, in `operator`, what has to be brought"
