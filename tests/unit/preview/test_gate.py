"""The Pulumi program declares nothing of an environment whose plan, promises, prices or exceptions do not hold."""

import json
from datetime import UTC, datetime

import pytest
from stack_files import Stacks
from typer.testing import CliRunner

from llmaas.cli import plan as plan_cli
from llmaas.preview.gate import RefusedError, admitted, record_placement
from llmaas.settings import Platform, SettingsError, load_platform
from llmaas.settings.recorded import placement_file
from llmaas.views.inventory import inventory

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


def admit(environment: str, now: datetime = NOW) -> Platform:
    return admitted(load_platform(environment), environment, now)


@pytest.mark.usefixtures("stacks")
@pytest.mark.parametrize("environment", ["lab", "production"])
def test_what_the_stack_file_places_is_deployed_as_it_stands(environment: str) -> None:
    assert admit(environment) == load_platform(environment)
    record_placement(load_platform(environment), admit(environment))
    assert not placement_file(environment).exists()


def test_every_reason_is_given_at_once(stacks: Stacks) -> None:
    stacks.change("lab", "models/0/placement", {"gpu-host-03": 1})
    stacks.change("lab", "models/0/context_tokens", 512)
    (stacks.folder / "prices.yaml").write_text("prices: [")
    with pytest.raises(RefusedError) as raised:
        admit("lab")
    text = str(raised.value)
    assert text.startswith("stacks/Pulumi.lab.yaml: refused for ")
    for place in ("llmaas:models[0].placement: ", "llmaas:models[0].context_tokens: ", "stacks/prices.yaml: "):
        assert f"\n  {place}" in text


def test_a_price_that_was_in_force_may_not_be_edited(stacks: Stacks) -> None:
    book = stacks.folder / "prices.yaml"
    assert '"1.8"' in book.read_text()
    book.write_text(book.read_text().replace('"1.8"', '"1.7"'))
    with pytest.raises(
        RefusedError, match=r"stacks/prices\.yaml: 2026-08/input\.amount: recorded as '1\.8', now '1\.7'"
    ):
        admit("lab")


@pytest.mark.usefixtures("stacks")
def test_prices_that_do_not_hold_yet_are_missed() -> None:
    with pytest.raises(RefusedError, match=r"no price for input of granite3\.3:8b at 2020"):
        admit("production", datetime(2020, 1, 1, tzinfo=UTC))


def test_an_exception_from_the_hardening_that_has_ended_is_refused(stacks: Stacks) -> None:
    stacks.waiver("2026-11-24")
    with pytest.raises(
        RefusedError, match=r"hardening-waivers\.yaml: waivers\[0\] \(R12\)\.expires: was 2026-11-24; end"
    ):
        admit("lab")


@pytest.mark.usefixtures("stacks")
def test_a_configuration_from_elsewhere_is_refused() -> None:
    platform = load_platform("lab")
    with pytest.raises(RefusedError, match="'lab' is not the stack 'production'"):
        admitted(platform, "production", NOW)
    with pytest.raises(RefusedError, match=r"not that of stacks/Pulumi\.lab\.yaml"):
        admitted(platform.model_copy(update={"country": "US"}), "lab", NOW)


def leave_open(stacks: Stacks, *models: int) -> None:
    for model in models:
        stacks.change("production", f"models/{model}/placement", None)


def placement(platform: Platform) -> dict[str, dict[str, int]]:
    return {model.name: dict(model.placement) for model in platform.models}


def test_without_a_placement_the_plan_decides_and_stays_equal_between_runs(stacks: Stacks) -> None:
    leave_open(stacks, 0, 1, 2)
    first = placement(admit("production"))
    assert placement(admit("production")) == first
    assert [sum(hosts.values()) for hosts in first.values()] == [5, 3, 4]
    record_placement(load_platform("production"), admit("production"))
    assert placement(load_platform("production")) == first
    assert placement(admit("production")) == first


def test_a_changed_demand_moves_the_fewest_of_what_was_recorded(stacks: Stacks) -> None:
    leave_open(stacks, 0, 1, 2)
    first = placement(admit("production"))
    record_placement(load_platform("production"), admit("production"))
    stacks.change("production", "demand/1/tenants", 60)
    then = placement(admit("production"))
    assert sum(then["llama3.2:3b"].values()) > sum(first["llama3.2:3b"].values())
    assert then["llama3.2:3b"].items() >= first["llama3.2:3b"].items()
    assert {name: then[name] for name in first if name != "llama3.2:3b"} == {
        name: first[name] for name in first if name != "llama3.2:3b"
    }


def test_what_the_stack_file_places_itself_is_not_moved_for_what_it_leaves_open(stacks: Stacks) -> None:
    before = placement(load_platform("production"))
    leave_open(stacks, 1)
    then = placement(admit("production"))
    assert {name: then[name] for name in ("granite3.3:8b", "llama3.1:70b")} == {
        name: before[name] for name in ("granite3.3:8b", "llama3.1:70b")
    }
    assert sum(then["llama3.2:3b"].values()) == 3


def test_what_cannot_be_placed_is_refused_with_the_proof_and_the_way_out(stacks: Stacks) -> None:
    leave_open(stacks, 0, 1, 2)
    stacks.change("production", "models/2/minimum_replicas", 30)
    with pytest.raises(RefusedError, match=r"GPUs are needed and the hosts have 96.*it would fit: .*add "):
        admit("production")


def test_hosts_get_no_weights_by_a_placement_that_nobody_knows(stacks: Stacks) -> None:
    leave_open(stacks, 0)
    with pytest.raises(SettingsError, match=r"models\[0\]\.placement: .*llmaas plan -e production --write"):
        inventory(load_platform("production"))
    record_placement(load_platform("production"), admit("production"))
    chosen = load_platform("production").models[0].placement
    weights = inventory(load_platform("production"))["groups"]["weights"]
    assert set(chosen) <= set(weights)


def test_llmaas_plan_records_what_it_places_and_leaves_the_stack_file_alone(stacks: Stacks) -> None:
    leave_open(stacks, 0, 1, 2)
    before = (stacks.folder / "Pulumi.production.yaml").read_text()
    found = CliRunner().invoke(plan_cli.app, ["-e", "production", "--json", "--write"])
    assert found.exit_code == 0, found.output
    planned = {line["model"]: line["hosts"] for line in json.loads(found.stdout)["lines"]}
    assert planned == placement(load_platform("production")) == placement(admit("production"))
    assert (stacks.folder / "Pulumi.production.yaml").read_text() == before
    again = CliRunner().invoke(plan_cli.app, ["-e", "production"])
    assert "The placement in force is this plan." in again.stdout


def test_a_recorded_placement_that_is_broken_is_told(stacks: Stacks) -> None:
    leave_open(stacks, 0)
    placement_file("production").write_text("granite3.3:8b: {gpu-host-01: -3}\n")
    with pytest.raises(SettingsError, match=r"placement\.production\.yaml: is no placement"):
        load_platform("production")
