"""A preview without a cluster says everything that would be refused, at once, and writes nothing."""

import json
from datetime import UTC, date, datetime
from typing import Any

import pytest
from stack_files import Stacks
from typer.testing import CliRunner, Result

from lab.images.spec import load_images
from llmaas.cli import preview as preview_cli
from llmaas.materials import WORKLOAD_IMAGES
from llmaas.preview.placeholders import MARK, images_of
from llmaas.preview.policies import policy_verdict, secrets_verdict
from llmaas.preview.recorder import Declared
from llmaas.settings import load_platform
from llmaas.settings.gpu_sets import mirrored_images, runtime_set

RUNNER = CliRunner()
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


def run(*arguments: str) -> Result:
    return RUNNER.invoke(preview_cli.app, list(arguments))


def refused(environment: str, *arguments: str) -> dict[str, list[str]]:
    """Paths that are refused, by verdict."""
    found = run("-e", environment, "--json", *arguments)
    assert found.exit_code == 2, found.output
    verdicts = json.loads(found.stdout)["verdicts"]
    return {v["subject"]: [each["path"] for each in v["refusals"]] for v in verdicts if v["refusals"]}


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preview_cli, "now", lambda: NOW)


@pytest.mark.parametrize("environment", ["lab", "production"])
def test_a_fresh_copy_holds_without_state_and_leaves_none(stacks: Stacks, environment: str) -> None:
    before = sorted(stacks.folder.rglob("*"))
    found = run("-e", environment)
    assert found.exit_code == 0, found.output
    for subject in ("plan", "promises", "prices", "hardening", "policies", "secrets"):
        assert f"\n{subject} " in f"\n{found.stdout}"
    assert f"an example: stacks/images.{environment}.lock.yaml is not there yet" in found.stdout
    assert MARK not in found.stdout
    assert ("no manifest yet, so the gateway has no tokenizer: " in found.stdout) is (environment == "production")
    assert sorted(stacks.folder.rglob("*")) == before
    assert not stacks.state.exists()


def test_everything_that_is_wrong_is_said_at_once_with_its_path(stacks: Stacks) -> None:
    stacks.change("lab", "models/0/placement", {"gpu-host-03": 1})
    stacks.change("lab", "models/0/context_tokens", 512)
    stacks.change("lab", "hosts/5/country", "US")
    recorded = stacks.folder / "prices.recorded.jsonl"
    lines = recorded.read_text().splitlines()
    recorded.write_text("\n".join([lines[0].replace('"0.9"', '"0.8"'), *lines[1:]]) + "\n")
    found = refused("lab")
    assert "llmaas:models[0].placement" in found["plan"]
    assert "llmaas:models[0].context_tokens" in found["promises"]
    assert found["prices"] == ["stacks/prices.recorded.jsonl"]
    assert "llmaas:hosts[5].country" in found["policies"]


def test_a_promise_file_that_is_cut_hides_nothing_else(stacks: Stacks) -> None:
    promises = stacks.folder / "promises.lab.jsonl"
    promises.write_text(promises.read_text()[: len(promises.read_text()) // 2])
    stacks.change("lab", "models/0/placement", {"gpu-host-03": 1})
    found = refused("lab")
    assert found["promises"] == ["promises.lab.jsonl"]
    assert "llmaas:models[0].placement" in found["plan"]


def test_a_policy_is_refused_with_its_rule_and_the_place_in_the_resource(stacks: Stacks) -> None:
    lock = "".join(f"{name}: docker.io/llmaas/{name}:1@sha256:{'0' * 64}\n" for name in WORKLOAD_IMAGES)
    (stacks.folder / "images.lab.lock.yaml").write_text(lock)
    found = run("-e", "lab")
    assert found.exit_code == 2
    wanted = "image-from-our-registry: Deployment llmaas-gateway/litellm spec.template.spec.containers[0].image:"
    assert wanted in found.stdout
    assert "note: images are those of stacks/images.lab.lock.yaml\n" in found.stdout


@pytest.mark.parametrize(
    ("place", "value", "path"),
    [
        ("demand/0/tenants", -1, "llmaas:demand[0].tenants"),
        ("hosts/4/gpus/count", 1000, "llmaas:hosts[4].gpus.count"),
        ("models/0/replacement", "gpt", "llmaas:models[0].replacement"),
        ("models/0/announced", "2026-01-01", "llmaas:models[0].announced"),
        ("artefacts/0/architecture/kv_heads", 3, "llmaas:artefacts[0].architecture.kv_heads"),
    ],
)
def test_mistakes_in_the_input_end_it_with_an_exit_code_of_their_own(
    stacks: Stacks, place: str, value: Any, path: str
) -> None:
    stacks.change("lab", place, value)
    found = run("-e", "lab")
    assert (found.exit_code, f"{path}: " in found.stderr) == (1, True), found.output


def test_mistakes_in_the_input_are_told_all_at_once(stacks: Stacks) -> None:
    stacks.change("lab", "demand/0/tenants", -1)
    stacks.change("lab", "models/0/replacement", "gpt")
    stacks.change("lab", "models/0/announced", "2026-01-01")
    stacks.change("lab", "artefacts/0/architecture/parameters", 1)
    found = run("-e", "lab")
    assert "4 mistakes" in found.stderr


@pytest.mark.parametrize(
    ("index", "values", "says"),
    [
        (0, {"gpus_per_replica": 3}, "models[0].gpus_per_replica: 3 GPUs cannot share 32 attention heads evenly"),
        (2, {"gpus_per_replica": 1}, "llama3.1:70b needs 177.2 GiB on each of 1 GPUs"),
        (2, {"minimum_replicas": 60}, "has 4 replicas of the 60 that must run"),
    ],
)
def test_models_that_fit_nowhere_are_refused(stacks: Stacks, index: int, values: dict[str, Any], says: str) -> None:
    for name, value in values.items():
        stacks.change("production", f"models/{index}/{name}", value)
    found = run("-e", "production")
    assert (found.exit_code, says in found.stdout) == (2, True), found.output


def test_a_lock_that_is_wrong_ends_it(stacks: Stacks) -> None:
    (stacks.folder / "images.lab.lock.yaml").write_text("haproxy: registry/haproxy:1\n")
    found = run("-e", "lab")
    assert (found.exit_code, "images.lab.lock.yaml" in found.stderr) == (1, True)


def test_an_environment_that_is_not_there_is_told() -> None:
    found = run("-e", "nowhere")
    assert (found.exit_code, "environments there are: lab, production" in found.stderr) == (1, True)


def test_another_day_is_judged_by_its_own_date(stacks: Stacks) -> None:
    stacks.change("lab", "models/0/context_tokens", 512)
    assert "llmaas:models[0].context_tokens" in refused("lab")["promises"]
    # after its six months the change needs a new date, and the pin no longer stands in the way
    assert "llmaas:models[0].production_date" in refused("lab", "--on", "2027-06-01")["promises"]


@pytest.mark.parametrize("environment", ["lab", "production"])
def test_an_exception_from_the_hardening_is_refused_from_the_day_after_its_last(
    stacks: Stacks, environment: str
) -> None:
    stacks.waiver("2027-02-28")
    place = "stacks/hardening-waivers.yaml: waivers[0] (R12).expires"
    last = run("-e", environment, "--on", "2027-02-28")
    assert (last.exit_code, f"warning: {place}: is 2027-02-28, today;" in last.stdout) == (0, True), last.output
    before = json.loads(run("-e", environment, "--json", "--on", "2027-01-28").stdout)
    assert before["warnings"] == []
    after = run("-e", environment, "--on", "2027-03-01")
    assert after.exit_code == 2
    assert f"{place}: was 2027-02-28; end the deviation, or renew it with a reason" in after.stdout
    assert "warning: " not in after.stdout
    assert refused(environment, "--on", "2027-03-01") == {"hardening": [place]}


def test_exceptions_that_cannot_be_read_are_refused_and_hide_nothing_else(stacks: Stacks) -> None:
    (stacks.folder / "hardening-waivers.yaml").write_text("waivers: [")
    stacks.change("lab", "models/0/placement", {"gpu-host-03": 1})
    found = refused("lab")
    assert found["hardening"] == ["stacks/hardening-waivers.yaml: stacks/hardening-waivers.yaml"]
    assert "llmaas:models[0].placement" in found["plan"]


@pytest.mark.usefixtures("stacks")
def test_an_exception_from_a_policy_is_warned_of_before_its_end() -> None:
    found = json.loads(run("-e", "production", "--json", "--on", "2027-05-02").stdout)
    wanted = "llmaas:waivers[0].expires: is 2027-05-31, in 29 days; it is refused from the day after"
    assert any(warning.startswith(wanted) for warning in found["warnings"])


@pytest.mark.usefixtures("stacks")
def test_the_example_lock_names_the_images_that_are_built_here() -> None:
    references, _ = images_of(load_platform("production"))
    built = {image.name: f"{image.path}:{image.tag}" for image in load_images()}
    chosen = runtime_set(load_platform("production"))
    assert chosen is not None
    assert set(references) == {*WORKLOAD_IMAGES, *chosen.images}
    # others build those of a GPU set; it says which
    built |= {name: f"{path}:{tag}" for name, (path, tag) in mirrored_images(load_platform("production")).items()}
    for name, reference in references.items():
        assert reference.startswith(f"registry.llm.example.fr:5000/{built[name]}@sha256:"), name
    simulated, _ = images_of(load_platform("lab"))
    assert set(simulated) == set(WORKLOAD_IMAGES)
    assert "/llmaas/vllm:" in simulated["vllm"]


def test_a_secret_outside_a_secret_is_found_wherever_it_hides() -> None:
    leaks: list[dict[str, Any]] = [
        {"spec": {"template": {"spec": {"containers": [{"args": ["--key", f"x{MARK}y"]}]}}}},
        {"data": {"config.yaml": f"password: {MARK}-redis"}},
        {"metadata": {"annotations": {f"a/{MARK}": "b"}}},
    ]
    declared = [Declared("kubernetes:apps/v1:Deployment", f"leak-{number}", each) for number, each in enumerate(leaks)]
    kept = Declared("kubernetes:core/v1:Secret", "kept", {"stringData": {"password": MARK}})
    found = secrets_verdict([*declared, kept]).refusals
    assert [refusal.resource for refusal in found] == ["leak-0", "leak-1", "leak-2"]
    assert found[0].path == "spec.template.spec.containers[0].args[1]"
    assert found[1].path == "data.config.yaml"
    assert secrets_verdict([kept]).holds


def test_nothing_declared_is_no_good_sign() -> None:
    assert not policy_verdict(load_platform("lab"), [], date(2026, 11, 25)).holds
