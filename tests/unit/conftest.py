"""Ansible finds collections by itself; Python is told where they are."""

import sys

import pytest
from hypothesis import settings

from llmaas.paths import ENVIRONMENT_VARIABLE, PROJECT_ROOT

# no test is about time, and a busy machine is no failure
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
sys.path.append(str(PROJECT_ROOT / "ansible" / "collections"))


@pytest.fixture(autouse=True)
def _no_environment_of_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands go by their options alone, also where the tests are started in a shell of some environment."""
    monkeypatch.delenv(ENVIRONMENT_VARIABLE, raising=False)
