import json
import re
import struct
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from llmaas.cli import plan as plan_cli
from llmaas.planning.check import placement_faults
from llmaas.planning.drawing import picture
from llmaas.planning.memory import replica_memory
from llmaas.planning.plan import Plan, make_plan, two_updates, with_placement
from llmaas.planning.throughput import FIGURES, NoRate, Rate, Replica, replica_rate
from llmaas.settings import (
    Demand,
    Measurement,
    Platform,
    ServiceLevels,
    SettingsError,
    build_platform,
    load_platform,
)
from llmaas.settings.editing import with_placements
from llmaas.settings.source import sections_of_file

RUNNER = CliRunner()


@pytest.fixture
def production() -> Platform:
    return load_platform("production")


def changed(platform: Platform, index: int, **values: Any) -> Platform:
    models = list(platform.models)
    models[index] = models[index].model_copy(update=values)
    return platform.model_copy(update={"models": tuple(models)})


@pytest.mark.parametrize("environment", ["lab", "production"])
def test_the_placement_in_force_is_the_plan(environment: str) -> None:
    platform = load_platform(environment)
    assert placement_faults(platform) == []
    made = make_plan(platform)
    assert made.fits
    assert made.moves == ()
    assert made.fewest_moves_proven


def test_what_starts_on_gpus_that_something_else_leaves_is_told_to_need_two_updates(production: Platform) -> None:
    owned = {host.name: 8 for host in production.hosts_with_role("gpu")}
    before = {model.name: dict(model.placement) for model in production.models}
    assert list(two_updates(production, before, owned)) == []
    # one replica of four GPUs makes room for eight of one
    full = {**before, "llama3.1:70b": {}, "granite3.3:8b": {"gpu-host-10": 8}}
    (note,) = two_updates(production, full, owned)
    assert note.startswith("gpu-host-10: what starts there needs GPUs of what stops there")


def test_every_stable_model_carries_its_demand_with_any_host_lost(production: Platform) -> None:
    for line in make_plan(production).lines:
        assert line.carried_after_loss is not None
        assert line.carried_after_loss >= line.demanded > 0


def test_a_placement_that_loses_a_model_with_a_host_is_seen(production: Platform) -> None:
    bad = with_placement(production, {"llama3.1:70b": {"gpu-host-09": 2, "gpu-host-10": 1}})
    assert any("llama3.1:70b is not served without gpu-host-09" in str(fault) for fault in placement_faults(bad))


def test_more_demand_means_more_replicas(production: Platform) -> None:
    before = {line.model: line.replicas for line in make_plan(production).lines}
    more = tuple(demand.model_copy(update={"tenants": demand.tenants * 2}) for demand in production.demand)
    after = {line.model: line.replicas for line in make_plan(production.model_copy(update={"demand": more})).lines}
    assert all(after[model] > before[model] for model in before)


def test_a_demand_beyond_the_fleet_is_refused_with_sums_and_remedies(production: Platform) -> None:
    more = tuple(demand.model_copy(update={"tenants": demand.tenants * 10}) for demand in production.demand)
    made = make_plan(production.model_copy(update={"demand": more}))
    assert not made.fits
    assert "GPUs are needed and the hosts have 96" in made.reasons[0]
    assert any(change.startswith("run without ") for change in made.changes)
    assert any(change.startswith("add ") for change in made.changes)


@pytest.mark.parametrize(
    ("index", "values", "reason", "change"),
    [
        (2, {"gpus_per_replica": 1}, "needs 177.2 GiB on each of 1 GPUs", "give llama3.1:70b 4 GPUs per replica"),
        (2, {"gpus_per_replica": 2}, "llama3.1:70b needs 91.9 GiB on each of 2 GPUs", "quantised to fp8"),
        (2, {"gpus_per_replica": 16}, "16 GPUs are more than any host has (8)", ""),
        (0, {"gpus_per_replica": 3}, "3 GPUs cannot share 32 attention heads evenly; give one of 1, 2, 4, 8", ""),
        (
            0,
            {"context_tokens": 400_000},
            "llmaas:models[0].context_tokens",
            "lower the context of granite3.3:8b to 328336",
        ),
    ],
)
def test_a_model_that_fits_nowhere_is_refused_with_a_way_out(
    production: Platform, index: int, values: dict[str, Any], reason: str, change: str
) -> None:
    made = make_plan(changed(production, index, **values))
    assert not made.fits
    assert reason in "\n".join(made.reasons)
    assert change in "\n".join(made.changes)


@pytest.mark.parametrize("values", [{"tenants": 1_000_000}, {"requests_per_minute": 1e7}, {"output_tokens": 1_000_000}])
def test_an_absurd_demand_is_answered_at_once_with_what_is_missing(production: Platform, values: Any) -> None:
    first, *others = production.demand
    absurd = production.model_copy(update={"demand": (first.model_copy(update=values), *others)})
    began = time.process_time()
    made = make_plan(absurd)
    assert time.process_time() - began < 2
    assert "GPUs are needed and the hosts have 96: granite3.3:8b " in made.reasons[0]
    assert made.changes[0].startswith("add ")
    assert made.changes[0].endswith("GPUs at least, or ask for so many fewer")


@pytest.mark.parametrize(
    ("parameters", "change"),
    [
        (140 * 10**9, "give llama3.1:70b 8 GPUs per replica instead of 4"),
        (700 * 10**9, "buy hosts of 32 h100-80g GPUs or more and give llama3.1:70b 32 GPUs per replica"),
        (700 * 10**9, "serve llama3.1:70b from weights quantised to int4, with 8 GPUs per replica"),
        (10**13, "serve a smaller model in place of llama3.1:70b: it fits on no host of up to 64 such GPUs"),
    ],
)
def test_a_model_larger_than_any_host_has_a_way_out(production: Platform, parameters: int, change: str) -> None:
    large = production.artefact("llama-3.1-70b-instruct")
    assert large.architecture is not None
    shape = large.architecture.model_copy(update={"parameters": parameters})
    artefacts = (*production.artefacts[:2], large.model_copy(update={"architecture": shape}))
    made = make_plan(production.model_copy(update={"artefacts": artefacts}))
    assert not made.fits
    assert "llmaas:models[2].gpus_per_replica: llama3.1:70b needs " in made.reasons[0]
    assert change in made.changes


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"kv_heads": 64}, "llmaas:artefacts[0].architecture.kv_heads: 64 cannot share 32 attention heads evenly"),
        ({"parameters": 7}, "llmaas:artefacts[0].architecture.parameters: 7 are fewer than its embedding tables"),
    ],
)
def test_a_shape_that_no_weights_can_have_is_a_mistake(values: dict[str, int], says: str) -> None:
    source, sections = sections_of_file("production")
    sections["artefacts"][0]["architecture"].update(values)
    with pytest.raises(SettingsError, match=re.escape(says)):
        build_platform(source, sections)


def test_a_gpu_without_figures_is_refused_and_a_measurement_helps(production: Platform) -> None:
    hosts = tuple(
        host.model_copy(update={"gpus": host.gpus.model_copy(update={"model": "b300"})}) if host.gpus else host
        for host in production.hosts
    )
    strange = production.model_copy(update={"hosts": hosts})
    made = make_plan(strange)
    assert len(made.reasons) == 3
    assert "no throughput is published for b300" in made.reasons[0]
    measured = tuple(measurement(model.artefact, model.gpus_per_replica) for model in production.models)
    assert make_plan(strange.model_copy(update={"measurements": measured})).fits


def measurement(artefact: str, gpus: int, **values: Any) -> Measurement:
    given = {
        "artefact": artefact, "gpu": "b300", "gpus": gpus, "concurrency": 100, "output_tokens_per_second": 5000.0,
        "time_to_first_token_seconds": 0.5, "measured_on": "2026-11-24", "source": "load test", **values,
    }  # fmt: skip
    return Measurement.model_validate_json(json.dumps(given))


def rate(production: Platform, index: int, measured: Measurement | None = None, **demand: Any) -> Rate | NoRate:
    model = production.models[index]
    shape = production.artefact(model.artefact).architecture
    card = production.hosts_with_role("gpu")[0].gpus
    assert shape is not None
    assert card is not None
    memory = replica_memory(shape, model.gpus_per_replica, card)
    asked = production.demand[index].model_copy(update=demand)
    replica = Replica(shape, model.gpus_per_replica, card.model, memory)
    return replica_rate(replica, asked, production.service_levels, measured)


def test_a_published_figure_is_given_back_at_its_own_operating_point(production: Platform) -> None:
    # 8.49 requests/s of 480 in and 300 out on a unit counted as 8 GPUs; a replica has 4, and weighs a little more
    found = rate(production, 2, input_tokens=480, output_tokens=300)
    assert isinstance(found, Rate)
    assert found.requests_per_second == pytest.approx(8.49 / 2, rel=0.001)
    assert found.time_to_first_token == pytest.approx(1.29, rel=0.001)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_longer_requests_never_carry_more(production: Platform, index: int) -> None:
    rates = [rate(production, index, input_tokens=tokens, output_tokens=tokens) for tokens in (100, 200, 400)]
    numbers = [found.requests_per_second for found in rates if isinstance(found, Rate)]
    assert numbers == sorted(numbers, reverse=True)
    assert len(numbers) == 3


def test_measured_figures_replace_published_ones_and_must_keep_the_promise(production: Platform) -> None:
    good = measurement("granite-3.3-8b-instruct", 1, gpu="h100-80g")
    found = rate(production, 0, good)
    assert isinstance(found, Rate)
    assert found.requests_per_second == pytest.approx(5000 / 120)
    assert found.source.startswith("measured 2026-11-24")
    assert isinstance(rate(production, 0, good.model_copy(update={"concurrency": 1000})), NoRate)
    assert isinstance(rate(production, 0, good.model_copy(update={"time_to_first_token_seconds": 1.6})), NoRate)


def test_every_figure_names_its_source() -> None:
    assert all(len(figure.source) > 20 for figure in FIGURES)


def test_the_picture_has_a_block_for_each_replica(production: Platform) -> None:
    made = make_plan(production)
    assert picture(made).count("<title>") == sum(line.replicas for line in made.lines)


def test_json_is_whole_and_the_exit_code_tells(production: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    found = RUNNER.invoke(plan_cli.app, ["-e", "production", "--json"])
    data = json.loads(found.stdout)
    assert found.exit_code == 0
    assert data["gpus_used"] == sum(row["gpus"] for row in data["lines"])
    monkeypatch.setattr(plan_cli, "load_platform", lambda _: changed(production, 2, minimum_replicas=30))
    found = RUNNER.invoke(plan_cli.app, ["-e", "production"])
    assert found.exit_code == 2
    assert "because" in found.stdout
    assert "it would fit: add " in found.stdout
    assert RUNNER.invoke(plan_cli.app, ["-e", "production", "--json"]).exit_code == 2


def test_the_loss_of_a_host_is_told_with_the_stores_that_it_alone_holds(production: Platform) -> None:
    told = RUNNER.invoke(plan_cli.app, ["-e", "production"]).stdout
    assert "gpu-host-01: PostgreSQL and Redis stop, their data is on no other host\n" in told
    assert "gpu-host-02: no model runs there\n" in told
    assert "gpu-host-03: Prometheus stops, its data is on no other host\n" in told
    # also of a host without GPUs
    apart = production.hosts[3].model_copy(update={"roles": ("service",), "gpus": None})
    made = make_plan(production.model_copy(update={"hosts": (*production.hosts[:3], apart, *production.hosts[4:])}))
    assert made.stores["gpu-host-01"] == ("PostgreSQL", "Redis")


def test_mistakes_in_the_input_have_an_exit_code_of_their_own() -> None:
    assert RUNNER.invoke(plan_cli.app, ["-e", "nowhere"]).exit_code == 1


@pytest.mark.parametrize("before", ["{h: 1, k: 2}", "{}", "\n        h: 1\n        k: 2", "{h: 1,\n        k: 2}"])
def test_writing_a_placement_touches_nothing_else(before: str) -> None:
    text = (
        f"config:\n  llmaas:models: # models\n    - name: a\n      placement: {before}\n      phase: stable # x\n"
        "    - {name: b, placement: {h: 1}}\n"
    )
    changed_text = with_placements("stack", text, {"a": {"z": 1, "h": 3}})
    assert changed_text == text.replace(f"placement: {before}", "placement: {h: 3, z: 1}", 1)


def test_writing_without_models_is_refused() -> None:
    with pytest.raises(SettingsError, match="there is no placement to write"):
        with_placements("stack", "config: {}", {})


def test_a_shape_is_printed_from_the_files_of_a_model(tmp_path: Path) -> None:
    header = json.dumps(
        {"__metadata__": {}, "w": {"dtype": "BF16", "shape": [10, 20], "data_offsets": [0, 400]}}
    ).encode()
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    small = {"num_hidden_layers": 1, "hidden_size": 8, "num_attention_heads": 2, "vocab_size": 10}
    (tmp_path / "config.json").write_text(json.dumps(small))
    found = RUNNER.invoke(plan_cli.app, ["shape", str(tmp_path)])
    assert found.exit_code == 0, found.output
    assert "parameters: 200" in found.stdout
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", 10**12))
    found = RUNNER.invoke(plan_cli.app, ["shape", str(tmp_path)])
    assert found.exit_code == 1
    assert "cut off" in found.output


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ([], "is no mapping"),
        ({"hidden_size": 8}, "has no num_hidden_layers, num_attention_heads, vocab_size"),
        ({"num_hidden_layers": -1, "num_attention_heads": 0}, "num_hidden_layers is -1, num_attention_heads is 0"),
        ({"vocab_size": "many"}, "vocab_size is 'many'; each is a whole number"),
        ({"kv_lora_rank": 512}, "kv_lora_rank: its cache is no plain KV cache"),
        ({"text_config": {"hidden_size": 16}}, "give the safetensors files as well"),
    ],
)
def test_a_config_that_cannot_be_planned_is_told(tmp_path: Path, config: Any, says: str) -> None:
    whole = {"num_hidden_layers": 1, "hidden_size": 8, "num_attention_heads": 2, "vocab_size": 10}
    given = {**whole, **config} if isinstance(config, dict) and config.keys() != {"hidden_size"} else config
    (tmp_path / "config.json").write_text(json.dumps(given))
    found = RUNNER.invoke(plan_cli.app, ["shape", str(tmp_path)])
    assert (found.exit_code, says in found.output) == (1, True), found.output


def test_a_picture_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    found = RUNNER.invoke(plan_cli.app, ["-e", "production", "--json", "--svg", str(tmp_path / "none" / "fleet.svg")])
    assert (found.exit_code, "cannot be written" in found.stderr) == (1, True)


def test_levels_that_no_figure_keeps_are_refused(production: Platform) -> None:
    strict = ServiceLevels(
        time_to_first_token_seconds=0.01, output_tokens_per_second=15, answer_seconds=2, availability_percent=99.9
    )
    made: Plan = make_plan(production.model_copy(update={"service_levels": strict}))
    assert any("no figure for h100-80g shows 0.01 s" in reason for reason in made.reasons)


def test_demand_is_frozen(production: Platform) -> None:
    demand: Demand = production.demand[0]
    with pytest.raises(ValueError, match="frozen"):
        demand.tenants = 1  # type: ignore[misc]


def test_simulated_gpus_are_said_to_be_simulated_wherever_a_plan_is_shown(production: Platform) -> None:
    lab = make_plan(load_platform("lab"))
    assert RUNNER.invoke(plan_cli.app, ["-e", "lab"]).output.startswith("lab: 7 of 48 simulated GPUs on 12 hosts")
    assert "7 of 48 simulated GPUs" in picture(lab)
    assert picture(lab).count("stroke-dasharray") == 48
    assert list(plan_cli.as_data(lab)["simulated"]) == list(lab.hosts)
    real = make_plan(production)
    assert RUNNER.invoke(plan_cli.app, ["-e", "production"]).output.startswith("production: 24 of 96 GPUs on 12 hosts")
    assert "stroke-dasharray" not in picture(real)
    assert real.simulated == ()
