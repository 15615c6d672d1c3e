"""Hardening as Ansible sees it: who may come in, what is upgraded, and what is wrong with the exceptions today."""

from datetime import date
from typing import Any
from urllib.parse import urlsplit

from llmaas.settings import Platform, Problem, SettingsError
from llmaas.settings.hardening import ending_text, ending_waivers, ends_soon, load_waivers, waiver_problems
from llmaas.settings.updates import load_updates


def common(platform: Platform, today: date) -> dict[str, Any]:
    """Variables of all hosts; ``hardening_refused`` is empty when every exception holds on that day.

    Raises:
        SettingsError: the file of approved updates is wrong.
    """
    updates = load_updates(platform.environment)
    return {
        "base_time_key_of": platform.environment if platform.site.time_authentication == "symmetric" else "",
        "base_ssh_sources": [str(address) for address in platform.site.bastions],
        "hardening_mirror": urlsplit(str(platform.site.packages_url)).hostname or "",
        "hardening_updates": [{"package": each.package, "version": each.version} for each in updates],
        "hardening_refused": [str(problem) for problem in refused(platform, today)],
        "hardening_ending": [str(problem) for problem in ending(platform, today)],
    }


def refused(platform: Platform, today: date) -> tuple[Problem, ...]:
    """What is wrong with the exceptions from the hardening on a day, each with its place and what would be right."""
    try:
        return waiver_problems(load_waivers(), platform, today)
    except SettingsError as error:
        return tuple(Problem(f"{error.source}: {problem.path}", problem.text) for problem in error.problems)


def ending(platform: Platform, today: date) -> tuple[Problem, ...]:
    """Exceptions from the hardening and from the policies that end within a month; no reason to refuse yet.

    Of a file of exceptions that cannot be read nothing is said here; ``refused`` says it.
    """
    try:
        hardening = ending_waivers(load_waivers(), today)
    except SettingsError:
        hardening = ()
    policies = tuple(
        Problem(f"llmaas:waivers[{index}].expires", ending_text(waiver.expires, today))
        for index, waiver in enumerate(platform.waivers)
        if ends_soon(waiver.expires, today)
    )
    return (*hardening, *policies)
