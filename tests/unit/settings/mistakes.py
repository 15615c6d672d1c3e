"""What is said of a stack file that has mistakes."""

import copy
from typing import Any

import pytest

from llmaas.settings import SettingsError, build_platform
from llmaas.settings.source import sections_of_file


def problems(sections: dict[str, Any]) -> list[str]:
    """All that is wrong with the sections, a text each; no mistake fails the test."""
    with pytest.raises(SettingsError) as caught:
        build_platform("stack", sections)
    return [str(problem) for problem in caught.value.problems]


def production_sections() -> dict[str, Any]:
    """Those of the production example, to be changed."""
    return copy.deepcopy(sections_of_file("production")[1])
