"""What README tells a new user to type after `make up`, in a shell as theirs; the lab must be up."""

import re
import subprocess

import pytest

from llmaas.paths import PROJECT_ROOT
from llmaas.settings import load_platform
from llmaas.views.topology import GATEWAY

# Ansible over all hosts takes minutes on a small machine
pytestmark = pytest.mark.timeout(1200)

ASK = (
    "import openai; print(openai.OpenAI().chat.completions.create("
    'model="granite3.3:8b", messages=[{"role":"user","content":"Bonjour"}]))'
)
RECAP = re.compile(r"^(\S+)\s+: ok=\d+\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)", re.MULTILINE)


def by_hand(command: str) -> str:
    """What a command prints in a shell that has the lab's environment; one that fails fails the test."""
    script = f'set -e; eval "$(bin/llmaas lab env)"; {command}'
    done = subprocess.run(
        ["bash", "-c", script], check=False, capture_output=True, text=True, cwd=PROJECT_ROOT, timeout=1100
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-8000:]}{done.stderr[-4000:]}"
    return done.stdout


def changed(playbook: str) -> dict[str, list[str]]:
    """Host -> numbers of tasks that changed something, of times it was not reached, of tasks that failed."""
    printed = by_hand(f"cd ansible && ANSIBLE_NOCOLOR=1 ansible-playbook {playbook}")
    return {host: numbers for host, *numbers in RECAP.findall(printed)}


def nothing_changed() -> dict[str, list[str]]:
    return {host.name: ["0", "0", "0"] for host in load_platform("lab").hosts}


def test_the_openai_sdk_asks_with_what_the_environment_holds() -> None:
    assert "ChatCompletion(" in by_hand(f"python -c '{ASK}'")


def test_a_second_run_of_ansible_changes_nothing() -> None:
    assert changed("playbooks/site.yml") == nothing_changed()


def test_a_check_run_of_ansible_works_and_announces_nothing() -> None:
    assert changed("playbooks/site.yml --check") == nothing_changed()


def test_a_preview_shows_no_change() -> None:
    assert "unchanged" in by_hand("pulumi preview -s lab --expect-no-changes --non-interactive")


def test_kubectl_and_the_administration_answer() -> None:
    assert GATEWAY in by_hand("kubectl get namespaces")
    assert "demo" in by_hand("bin/llmaas tenant list")
