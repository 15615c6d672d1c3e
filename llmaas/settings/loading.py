"""The two ways to a ``Platform``: from the stack file, and from Pulumi's configuration while a program runs."""

from typing import Any

from llmaas.settings.catalogue import Model
from llmaas.settings.crosschecks import CHECKS
from llmaas.settings.draft import read
from llmaas.settings.errors import KeysError, Problem, SettingsError
from llmaas.settings.lifecycle import dates_in_order
from llmaas.settings.platform import Platform
from llmaas.settings.recorded import read_placement
from llmaas.settings.shapes import shapes_are_possible
from llmaas.settings.source import sections_of_file, sections_of_pulumi

# sections that Pulumi hands over as plain text
_SCALARS = frozenset({"environment", "country", "domain"})


def build_platform(source: str, sections: dict[str, Any]) -> Platform:
    """A checked platform, or one ``SettingsError`` with everything that is wrong; ``source`` names the sections."""
    draft = read(sections)
    problems = draft.problems
    for check in (*CHECKS, dates_in_order, shapes_are_possible):
        problems.extend(check(draft))
    if problems:
        raise SettingsError(source, sorted(set(problems), key=_in_file_order(sections)))
    return Platform.model_construct(**draft.values)


def _in_file_order(sections: dict[str, Any]) -> Any:
    order = {f"llmaas:{name}": position for position, name in enumerate(sections)}

    def key(problem: Problem) -> tuple[int, str]:
        section = problem.path.split("[", maxsplit=1)[0].split(".", maxsplit=1)[0]
        return order.get(section, len(order)), problem.path

    return key


def load_platform(environment: str) -> Platform:
    """The environment that ``stacks/Pulumi.<environment>.yaml`` describes."""
    problems: list[Problem] = []
    try:
        source, sections = sections_of_file(environment)
    except KeysError as error:
        source, sections = error.source, error.sections
        problems.extend(error.problems)
    if isinstance(sections.get("environment"), str) and sections["environment"] != environment:
        text = f"{sections['environment']!r} is not the name in {source}; give {environment}, or rename the file"
        problems.append(Problem("llmaas:environment", text))
    try:
        platform = build_platform(source, sections)
    except SettingsError as error:
        raise SettingsError(source, [*problems, *error.problems]) from None
    if problems:
        raise SettingsError(source, problems)
    return _with_recorded_placement(platform)


def load_platform_from_pulumi() -> Platform:
    """The environment of the stack that Pulumi is running; equal to what ``load_platform`` reads from its file."""
    import pulumi  # noqa: PLC0415  (slow to import, and needed only inside a Pulumi program)
    from pulumi.runtime.config import CONFIG  # noqa: PLC0415

    stack = pulumi.get_stack()
    platform = build_platform(f"configuration of stack {stack}", sections_of_pulumi(CONFIG.get(), _SCALARS))
    return _with_recorded_placement(platform)


def _with_recorded_placement(platform: Platform) -> Platform:
    """Where the stack file leaves placement to the plan, what the plan recorded; hosts that are gone drop out."""
    if not any(model.placed_by_plan for model in platform.models):
        return platform
    recorded = read_placement(platform.environment)
    hosts = {host.name for host in platform.hosts_with_role("gpu")}

    def filled(model: Model) -> Model:
        if not model.placed_by_plan:
            return model
        known = {host: count for host, count in recorded.get(model.name, {}).items() if host in hosts}
        # it stays marked as the plan's own, which a copy with an update would not
        return Model.model_construct(_fields_set=set(model.model_fields_set), **{**dict(model), "placement": known})

    return platform.model_copy(update={"models": tuple(filled(model) for model in platform.models)})
