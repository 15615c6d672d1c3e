"""Every role is whole, and what it says of its variables is what they are. Needs nothing but the tree."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from llmaas.paths import PROJECT_ROOT

ROLE_FOLDERS = (PROJECT_ROOT / "ansible" / "roles", PROJECT_ROOT / "lab" / "ansible" / "roles")
ROLES = sorted(
    (path for folder in ROLE_FOLDERS for path in folder.iterdir() if path.is_dir()), key=lambda path: path.name
)
TYPES = {bool: "bool", int: "int", str: "str", list: "list", dict: "dict"}


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def defaults(role: Path) -> dict[str, Any]:
    return load(role / "defaults" / "main.yml")


def options(role: Path) -> dict[str, Any]:
    return load(role / "meta" / "argument_specs.yml")["argument_specs"]["main"]["options"]


@cache
def tasks(role: Path) -> tuple[dict[str, Any], ...]:
    found: list[dict[str, Any]] = []

    def collect(entries: list[dict[str, Any]]) -> None:
        for entry in entries:
            found.append(entry)
            for part in ("block", "rescue", "always"):
                collect(entry.get(part, []))

    for path in sorted([*role.glob("tasks/*.yml"), *role.glob("handlers/*.yml")]):
        collect(load(path))
    return tuple(found)


def placed_files(role: Path) -> list[dict[str, Any]]:
    """What file_set places: entries beside the task, and those of lists that stand in the role's variables."""
    found = [*tasks(role)]
    listed = [task["llmaas.host.file_set"].get("files") for task in found if "llmaas.host.file_set" in task]
    variables = [load(path) or {} for path in sorted(role.glob("vars/*.yml"))]
    listed += [value for each in variables for value in each.values()]
    entries = [entry for each in listed if isinstance(each, list) for entry in each]
    return [entry for entry in entries if isinstance(entry, dict) and "path" in entry]


each_role = pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)


@each_role
def test_specs_describe_exactly_the_defaults(role: Path) -> None:
    assert set(options(role)) == set(defaults(role))


@each_role
def test_specs_and_defaults_agree_in_value_and_type(role: Path) -> None:
    for name, value in defaults(role).items():
        option = options(role)[name]
        assert option["default"] == value, name
        assert option["type"] == TYPES[type(value)], name
        assert option["description"], name


@each_role
def test_public_variables_bear_the_name_of_their_role(role: Path) -> None:
    assert [name for name in defaults(role) if not name.startswith(f"{role.name}_")] == []


@each_role
def test_every_entry_point_has_a_spec(role: Path) -> None:
    specs = load(role / "meta" / "argument_specs.yml")["argument_specs"]
    imported = {
        task[module]["tasks_from"].removesuffix(".yml")
        for other in ROLES
        for task in tasks(other)
        for module in ("ansible.builtin.import_role", "ansible.builtin.include_role")
        if task.get(module, {}).get("name") == role.name and "tasks_from" in task[module]
    }
    assert {"main", *imported} <= set(specs)
    assert all((role / "tasks" / f"{name}.yml").exists() for name in specs)


@each_role
def test_every_template_and_file_is_used(role: Path) -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in role.glob("**/*.yml"))
    kept = [*role.glob("templates/*"), *role.glob("files/*")]
    assert [path.name for path in kept if path.name not in text] == []


@pytest.mark.parametrize(
    ("part", "command"),
    [("ssh/sshd_config", "sshd -t -f %s"), ("firewall.nft", "nft --check --file %s"), ("sudoers", "visudo -cf %s")],
)
def test_files_that_lock_out_or_break_are_validated_before_they_are_placed(part: str, command: str) -> None:
    found = [
        entry
        for role in ROLES
        for entry in placed_files(role)
        if part in entry["path"] and {"src", "template", "content"} & entry.keys()
    ]
    assert found, f"no role places {part}"
    for entry in found:
        assert command in entry.get("validate", ""), entry["path"]


@each_role
def test_keys_are_never_logged(role: Path) -> None:
    secret = re.compile(r"\.keys?\b|kubeconfig|encryption|discovery\.yaml|join\.yaml|admin\.conf'?$")
    for task in tasks(role):
        read = task.get("ansible.builtin.slurp", {}).get("src", "")
        assert not secret.search(read) or task.get("no_log") is True, task["name"]
    for entry in placed_files(role):
        if secret.search(entry["path"]):
            assert entry.get("secret") is True, entry["path"]


def test_nothing_hangs_on_a_handler() -> None:
    """A handler is lost when a run ends before it; the option ``apply`` of file_set stays due."""
    assert [role.name for role in ROLES if (role / "handlers").exists()] == []


@each_role
def test_every_command_says_when_it_changes_something(role: Path) -> None:
    for task in tasks(role):
        for module in ("ansible.builtin.command", "ansible.builtin.shell"):
            if module in task:
                assert "changed_when" in task or "creates" in task[module], task["name"]


def test_host_keys_are_pinned() -> None:
    text = (PROJECT_ROOT / "ansible" / "ansible.cfg").read_text(encoding="utf-8")
    assert re.search(r"^host_key_checking = true$", text, re.MULTILINE)


def with_imported(playbook: Path) -> list[Path]:
    """A playbook and those that it imports, and these."""
    names = [play.get("ansible.builtin.import_playbook") for play in load(playbook)]
    return [playbook, *(path for name in names if name for path in with_imported(playbook.with_name(name)))]


def test_the_site_playbook_reaches_every_role() -> None:
    paths = with_imported(PROJECT_ROOT / "ansible" / "playbooks" / "site.yml")
    text = "\n".join(path.read_text(encoding="utf-8") for path in paths)
    unused = [role.name for role in ROLES if f"role: {role.name}\n" not in text and role.name != "pod_network_lab"]
    assert unused == []


def test_any_failed_host_stops_every_play() -> None:
    playbooks = PROJECT_ROOT / "ansible" / "playbooks"
    plays = [play for path in playbooks.glob("*.yml") for play in load(path) if "hosts" in play]
    assert plays
    assert [play["name"] for play in plays if play.get("any_errors_fatal") is not True] == []


def test_swap_in_the_clear_ends_on_every_host_with_its_own_kernel() -> None:
    """Not only where devices are encrypted: control hosts have no data devices, and etcd in their memory."""
    (base,) = (role for role in ROLES if role.name == "base")
    main = load(base / "tasks" / "main.yml")
    assert "swap.yml" in [task.get("ansible.builtin.import_tasks") for task in main]
    (task,) = (task for task in load(base / "tasks" / "swap.yml") if "llmaas.host.plain_swap" in task)
    assert task["when"] == "not ansible_facts.host_kernel.container"
    hosts = load(PROJECT_ROOT / "ansible" / "playbooks" / "hosts.yml")
    assert any("machines" in play["hosts"] for play in hosts if {"role": "base"} in play.get("roles", []))
