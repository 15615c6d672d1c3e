"""What our strategy computes in its own process comes out as Ansible's own strategy has it from its workers."""

import re
from pathlib import Path

import pytest
from playbooks import run_playbook

HOSTS = ("one", "two", "three")
HOSTS_OF_AN_INCLUDE = re.compile(r"(?<=\.yml for ).+")
INCLUDED = """
- name: Included
  ansible.builtin.set_fact:
    included: "{{ inventory_hostname }}"
"""
PLAY = """
- hosts: all
  gather_facts: false
  tasks:
    - name: A fact of each host
      ansible.builtin.set_fact:
        own: "{{ inventory_hostname }} {{ item }}"
      loop: [first, last]
    - name: Arguments
      ansible.builtin.validate_argument_spec:
        argument_spec: {own: {type: str, required: true, choices: [one last, two last]}}
      ignore_errors: true
      register: arguments
    - name: Some include
      ansible.builtin.include_tasks: included.yml
      when: arguments is not failed
    - name: Skipped for what is undefined
      ansible.builtin.set_fact:
        own: "{{ nowhere }}"
      when: nowhere is defined
    - name: Rescued
      block:
        - name: Undefined
          ansible.builtin.assert: {that: nowhere.at_all, quiet: true}
      rescue:
        - name: Why
          ansible.builtin.set_fact:
            why: "{{ ansible_failed_task.name }}: {{ ansible_failed_result.msg }}"
    - name: Hidden
      ansible.builtin.set_fact: {hidden: hunter2}
      no_log: true
    - name: Once
      ansible.builtin.debug: {msg: "{{ why }}"}
      run_once: true
    - name: All of it
      ansible.builtin.debug:
        msg: "{{ own }} / {{ included | default('nothing') }} / {{ arguments.argument_errors | default([]) }}"
    - name: One host ends
      ansible.builtin.fail: {msg: "{{ inventory_hostname }} fails"}
      when: inventory_hostname == 'two'
    - name: Nobody comes here
      ansible.builtin.debug: {msg: too late}
"""


def told(folder: Path, strategy: str) -> list[str]:
    """What a run says, in an order that does not depend on which host comes first, in a line or among lines."""
    inventory = {"all": {"hosts": {host: {"ansible_connection": "local"} for host in HOSTS}}}
    done = run_playbook(folder, inventory, folder / "play.yml", "-v", ANSIBLE_STRATEGY=strategy)
    assert done.returncode == 2, done.stdout + done.stderr
    return sorted(HOSTS_OF_AN_INCLUDE.sub(in_order, line) for line in done.stdout.splitlines())


def in_order(hosts: re.Match[str]) -> str:
    return ", ".join(sorted(hosts[0].split(", ")))


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    folder = tmp_path_factory.mktemp("strategies")
    (folder / "play.yml").write_text(PLAY)
    (folder / "included.yml").write_text(INCLUDED)
    return {strategy: told(folder, strategy) for strategy in ("mitogen_linear", "ansible.builtin.linear")}


def test_every_result_is_the_same(outcomes: dict[str, list[str]]) -> None:
    assert outcomes["mitogen_linear"] == outcomes["ansible.builtin.linear"]


def test_the_play_did_what_it_was_to_do(outcomes: dict[str, list[str]]) -> None:
    text = "\n".join(outcomes["mitogen_linear"])
    assert "one last / one / []" in text
    # YAML doubles the quotation marks
    assert "three last / nothing / [''value of own must be one of" in text
    assert "Undefined: " in text
    assert "two fails" in text
    assert "too late" not in text
    assert "hunter2" not in text
