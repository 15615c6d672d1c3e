"""Hardening as Ansible sees it: who may come in, what is upgraded, and what is wrong with the exceptions today."""

from datetime import date
from typing import Any
from urllib.parse import urlsplit

from llmaas.settings import Platform, SettingsError
from llmaas.settings.hardening import load_waivers, waiver_problems
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
        "hardening_refused": refused(platform, today),
    }


def refused(platform: Platform, today: date) -> list[str]:
    """What is wrong with the exceptions on a day, each with its place and what would be right."""
    try:
        return [str(problem) for problem in waiver_problems(load_waivers(), platform, today)]
    except SettingsError as error:
        return [f"{error.source}: {problem}" for problem in error.problems]
