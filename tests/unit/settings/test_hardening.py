from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from llmaas.settings import SettingsError, load_platform
from llmaas.settings.hardening import ending_waivers, load_waivers, waiver_problems
from llmaas.settings.updates import load_updates

TODAY = date(2026, 11, 25)
ENTRY: dict[str, Any] = {
    "control": "R12",
    "deviations": ["sysctl net.ipv4.ip_forward"],
    "reason": "Kubernetes hosts carry packets between pods.",
    "expires": "2027-05-31",
}


def written(folder: Path, *entries: dict[str, Any]) -> Path:
    path = folder / "hardening-waivers.yaml"
    path.write_text(yaml.safe_dump({"waivers": list(entries)}), encoding="utf-8")
    return path


def refusal(path: Path) -> str:
    with pytest.raises(SettingsError) as refused:
        load_waivers(path)
    return str(refused.value)


@pytest.mark.parametrize("environment", ["lab", "production"])
def test_the_project_s_exceptions_hold(environment: str) -> None:
    assert waiver_problems(load_waivers(), load_platform(environment), TODAY) == ()


@pytest.mark.parametrize("key", ["control", "deviations", "reason", "expires"])
def test_an_exception_without_a_part_is_refused_by_its_place(tmp_path: Path, key: str) -> None:
    text = refusal(written(tmp_path, ENTRY, {name: value for name, value in ENTRY.items() if name != key}))
    assert f"waivers[1].{key}" in text
    assert "stacks/hardening-waivers.yaml" in text


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("control", "R81"),
        ("reason", "because"),
        ("reason", " " * 30),
        ("expires", "soon"),
        ("deviations", ["everything"]),
        ("roles", ["printer"]),
        ("excuse", "x"),
    ],
)
def test_a_wrong_part_is_refused_by_its_place(tmp_path: Path, key: str, value: object) -> None:
    assert f"waivers[0].{key}" in refusal(written(tmp_path, ENTRY | {key: value}))


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    text = refusal(written(tmp_path, ENTRY | {"control": "12"}, ENTRY | {"reason": ""}))
    assert "waivers[0].control" in text
    assert "waivers[1].reason" in text


def test_a_deviation_is_excused_once(tmp_path: Path) -> None:
    assert "waivers[1].deviations" in refusal(written(tmp_path, ENTRY, ENTRY | {"control": "R9"}))


@pytest.mark.parametrize(
    ("expires", "says"), [("2026-11-24", "was 2026-11-24; end"), ("2028-01-01", "a year from 2026-11-25")]
)
def test_an_exception_that_ended_or_lasts_too_long_is_refused_by_its_place(
    tmp_path: Path, expires: str, says: str
) -> None:
    waivers = load_waivers(written(tmp_path, ENTRY, ENTRY | {"deviations": ["service auditd"], "expires": expires}))
    (problem,) = waiver_problems(waivers, load_platform("lab"), TODAY)
    assert "stacks/hardening-waivers.yaml: waivers[1] (R12).expires" in str(problem)
    assert says in str(problem)


def test_the_last_day_counts(tmp_path: Path) -> None:
    waivers = load_waivers(written(tmp_path, ENTRY | {"expires": TODAY.isoformat()}))
    assert waiver_problems(waivers, load_platform("lab"), TODAY) == ()


@pytest.mark.parametrize(
    ("expires", "says"),
    [
        ("2026-12-26", None),
        ("2026-12-25", "is 2026-12-25, in 30 days; it is refused from the day after"),
        ("2026-11-26", "is 2026-11-26, in 1 day;"),
        ("2026-11-25", "is 2026-11-25, today;"),
        # one that has ended is refused and no longer warned of
        ("2026-11-24", None),
    ],
)
def test_an_exception_is_warned_of_from_thirty_days_before_its_end(
    tmp_path: Path, expires: str, says: str | None
) -> None:
    waivers = load_waivers(written(tmp_path, ENTRY, ENTRY | {"deviations": ["service auditd"], "expires": expires}))
    found = [str(problem) for problem in ending_waivers(waivers, TODAY)]
    assert len(found) == (says is not None)
    assert all(f"stacks/hardening-waivers.yaml: waivers[1] (R12).expires: {says}" in text for text in found)


def test_an_exception_of_an_unknown_host_is_refused(tmp_path: Path) -> None:
    entry = ENTRY | {"environments": ["lab"], "hosts": ["gpu-host-99"]}
    (problem,) = waiver_problems(load_waivers(written(tmp_path, entry)), load_platform("lab"), TODAY)
    assert "'gpu-host-99' is no host of lab" in str(problem)


def test_an_exception_holds_for_its_hosts_alone(tmp_path: Path) -> None:
    platform = load_platform("lab")
    waivers = load_waivers(written(tmp_path, ENTRY | {"environments": ["lab"], "roles": ["gpu"]}))
    excused = {host.name for host in platform.hosts if waivers.of("lab", host)}
    assert excused == {host.name for host in platform.hosts_with_role("gpu")}
    assert not any(waivers.of("production", host) for host in platform.hosts)


def test_an_exception_may_name_a_key_server_and_one_with_roles_excuses_none(tmp_path: Path) -> None:
    platform = load_platform("production")
    named = ENTRY | {"environments": ["production"], "hosts": ["key-01"], "deviations": ["service auditd"]}
    waivers = load_waivers(written(tmp_path, ENTRY | {"roles": ["control", "gpu", "log", "service"]}, named))
    assert waiver_problems(waivers, platform, TODAY) == ()
    first, second = platform.key_servers
    assert set(waivers.of("production", first)) == {"service auditd"}
    assert waivers.of("production", second) == {}
    assert all(waivers.of("production", host) for host in platform.hosts)


def test_no_exception_of_the_project_lets_a_key_server_forward_packets() -> None:
    for server in load_platform("production").key_servers:
        assert "sysctl net.ipv4.ip_forward" not in load_waivers().of("production", server)


UPDATE = {"package": "openssl", "version": "3.0.17-1~deb12u3", "approved": "2026-11-25", "reason": "DSA-5950"}


def updates(folder: Path, *entries: dict[str, Any]) -> Path:
    path = folder / "approved-updates.yaml"
    path.write_text(yaml.safe_dump({"updates": list(entries)}), encoding="utf-8")
    return path


def test_an_update_is_approved_where_it_says(tmp_path: Path) -> None:
    path = updates(tmp_path, UPDATE | {"environments": ["lab"]})
    assert [each.package for each in load_updates("lab", path)] == ["openssl"]
    assert load_updates("production", path) == ()


@pytest.mark.parametrize("key", ["package", "version", "approved", "reason"])
def test_an_update_without_a_part_is_refused_by_its_place(tmp_path: Path, key: str) -> None:
    path = updates(tmp_path, {name: value for name, value in UPDATE.items() if name != key})
    with pytest.raises(SettingsError, match=rf"updates\[0\]\.{key}"):
        load_updates("lab", path)


def test_a_package_is_approved_in_one_version(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="openssl is approved in two versions"):
        load_updates("lab", updates(tmp_path, UPDATE, UPDATE | {"version": "3.0.18-1"}))
