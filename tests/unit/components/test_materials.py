"""What must be on the machine before a deployment, and how its absence is told."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from llmaas import materials
from llmaas.materials import (
    WORKLOAD_IMAGES,
    MaterialError,
    issue_certificates,
    issue_receiver_certificate,
    load_materials,
    read_lock,
    read_prices,
    read_receiver_authority,
    read_tokenizers,
)
from llmaas.pki import PkiError
from llmaas.settings import Alerts, Platform, load_platform, recorded
from llmaas.settings.gpu_sets import mirrored_images
from llmaas.settings.recorded import manifest_file
from llmaas.views.leaves import leaf_requests

DIGEST = "0" * 64
MOMENT = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.fixture
def lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, platform: Platform) -> Path:
    monkeypatch.setenv("LLMAAS_STATE", str(tmp_path / "state"))
    (tmp_path / "state").mkdir()
    monkeypatch.setattr(materials, "stack_file", lambda environment: tmp_path / f"Pulumi.{environment}.yaml")
    return tmp_path / platform.images.lock


def write(lock: Path, names: tuple[str, ...] = WORKLOAD_IMAGES, suffix: str = f"@sha256:{DIGEST}") -> None:
    lock.write_text("".join(f"{name}: registry.test:5000/llmaas/{name}:1{suffix}\n" for name in names))


def test_a_whole_lock_is_read(lock: Path, platform: Platform) -> None:
    write(lock)
    assert set(read_lock(platform)) == set(WORKLOAD_IMAGES)


def test_a_missing_lock_is_told_with_the_command_that_makes_it(lock: Path, platform: Platform) -> None:
    with pytest.raises(MaterialError, match=rf"{lock.name} is missing; run: llmaas images build -e lab"):
        read_lock(platform)


def test_missing_images_are_named(lock: Path, platform: Platform) -> None:
    write(lock, names=("haproxy", "redis"))
    with pytest.raises(MaterialError, match="lacks litellm, postgres, prometheus, vllm"):
        read_lock(platform)


def test_the_cpu_build_is_no_model_server_for_real_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    production = load_platform("production")
    monkeypatch.setattr(materials, "stack_file", lambda environment: tmp_path / f"Pulumi.{environment}.yaml")
    path = tmp_path / production.images.lock
    mirrored = {
        name: f"registry.test:5000/{where}:{tag}@sha256:{DIGEST}"
        for name, (where, tag) in mirrored_images(production).items()
    }
    content = {name: f"registry.test:5000/llmaas/{name}:1@sha256:{DIGEST}" for name in WORKLOAD_IMAGES}
    path.write_text(yaml.safe_dump(content | mirrored))
    assert read_lock(production)["vllm"] == mirrored["vllm"]
    path.write_text(yaml.safe_dump(content | mirrored | {"vllm": content["vllm"]}))
    with pytest.raises(MaterialError, match=r"vllm is .*/llmaas/vllm:1@.* but the set has vllm/vllm-openai:v0\.32\.0"):
        read_lock(production)
    del mirrored["vllm"], content["vllm"]
    path.write_text(yaml.safe_dump(content | mirrored))
    with pytest.raises(MaterialError, match=r"vllm is missing; mirror it to vllm/vllm-openai:v0\.32\.0"):
        read_lock(production)


def test_an_image_without_digest_is_refused(lock: Path, platform: Platform) -> None:
    write(lock, suffix="")
    with pytest.raises(MaterialError, match="no digest in haproxy"):
        read_lock(platform)


def test_a_lock_that_is_no_mapping_is_refused(lock: Path, platform: Platform) -> None:
    lock.write_text("- haproxy\n")
    with pytest.raises(MaterialError, match="no mapping"):
        read_lock(platform)


def test_a_missing_cluster_is_told_with_the_command_that_makes_it(lock: Path, platform: Platform) -> None:
    write(lock)
    with pytest.raises(MaterialError, match=r"ansible-playbook playbooks/site\.yml"):
        load_materials(platform, MOMENT)


def test_missing_certificates_are_told_with_the_command_that_issues_them(
    lock: Path, platform: Platform, tmp_path: Path
) -> None:
    write(lock)
    state = tmp_path / "state" / "lab"
    state.mkdir()
    (state / "kubeconfig").write_text("")
    with pytest.raises(PkiError, match="llmaas pki ensure -e lab"):
        load_materials(platform, MOMENT)


def test_loading_twice_gives_equal_materials(lock: Path, platform: Platform, tmp_path: Path) -> None:
    write(lock)
    real = Path(__file__).parents[3] / "stacks" / "prices.yaml"
    (tmp_path / "prices.yaml").write_text(real.read_text())
    state = tmp_path / "state" / "lab"
    state.mkdir()
    (state / "kubeconfig").write_text("")
    issue_certificates(platform)
    first = load_materials(platform, MOMENT)
    assert load_materials(platform, MOMENT) == first
    assert first.litellm_master_key.startswith("sk-")
    # told long enough before its own end that everything can still be renewed
    ends = dict(first.certificate_ends)
    assert ends.pop("issuing-authority") - datetime.now(UTC) < timedelta(days=731 - 90)
    assert set(ends) == {request.name for request in leaf_requests(platform)}
    assert first.certificate_notice == ""
    assert {price.input_nano_eur > 0 for price in first.prices.values()} == {True}


def test_the_mark_of_a_secret_changes_with_it_and_with_the_key_that_hides_it(
    lock: Path, platform: Platform, tmp_path: Path
) -> None:
    test_loading_twice_gives_equal_materials(lock, platform, tmp_path)
    one = load_materials(platform, MOMENT)
    assert one.version("a") == one.version("a")
    assert one.version("a") != one.version("b")
    assert one.version("a", "b") != one.version("ab")


def test_a_price_that_is_missing_is_told_for_every_model(lock: Path, platform: Platform) -> None:
    (lock.parent / "prices.yaml").write_text((Path(__file__).parents[3] / "stacks" / "prices.yaml").read_text())
    with pytest.raises(MaterialError, match=r"no price for input of granite3\.3:8b") as raised:
        read_prices(platform, datetime(1999, 1, 1, tzinfo=UTC))
    assert len(str(raised.value).splitlines()) == len(platform.models)


def test_the_digest_of_a_tokenizer_is_that_of_the_manifest(platform: Platform) -> None:
    lines = manifest_file(platform, "tiny-llama").read_text().splitlines()
    (digest,) = [line.split()[0] for line in lines if line.endswith("  tokenizer.json")]
    assert read_tokenizers(platform) == {"tiny-llama": digest}


def test_weights_that_are_not_imported_are_told_and_a_preview_goes_on_without() -> None:
    production = load_platform("production")
    with pytest.raises(MaterialError, match=r"granite-3\.3-8b-instruct\.sha256 is missing: import the weights"):
        read_tokenizers(production)
    assert read_tokenizers(production, all_imported=False) == {}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"{DIGEST}  config.json\n", {}),
        (f"{DIGEST}  ./tokenizer.json\n\n{DIGEST}  a b\n", {"tiny-llama": DIGEST}),
        (f"{'A' * 64}  tokenizer.json\n", {"tiny-llama": "a" * 64}),
    ],
)
def test_an_artefact_without_a_tokenizer_gives_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, platform: Platform, text: str, found: dict[str, str]
) -> None:
    _write_manifest(tmp_path, monkeypatch, platform, text)
    assert read_tokenizers(platform) == found


def test_a_manifest_that_cannot_be_read_is_refused_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, platform: Platform
) -> None:
    _write_manifest(tmp_path, monkeypatch, platform, f"{DIGEST}  config.json\n{DIGEST} tokenizer.json\n")
    with pytest.raises(MaterialError, match=r"tiny-llama\.sha256(.|\n)*line 2: is no line of sha256sum"):
        read_tokenizers(platform, all_imported=False)


def receiver_of(platform: Platform, **changes: str) -> Platform:
    receiver = {"address": "10.77.0.1", "host_name": "alerts.lab.llmaas.internal", **changes}
    return platform.model_copy(update={"alerts": Alerts.model_validate_json(json.dumps({"receiver": receiver}))})


def test_the_authority_of_the_receiver_is_what_the_named_file_holds(lock: Path, platform: Platform) -> None:
    assert read_receiver_authority(platform) == read_receiver_authority(receiver_of(platform)) == ""
    root = issue_certificates(platform).root
    (lock.parent / "site-ca.crt").write_bytes(root.read_bytes())
    assert read_receiver_authority(receiver_of(platform, authority="site-ca.crt")) == root.read_text()


@pytest.mark.parametrize("text", [None, "", "no certificate"])
def test_an_authority_that_is_not_there_is_told_with_what_to_do(
    lock: Path, platform: Platform, text: str | None
) -> None:
    if text is not None:
        (lock.parent / "site-ca.crt").write_text(text)
    with pytest.raises(MaterialError, match=r"llmaas:alerts\.receiver\.authority: .*site-ca\.crt holds no certificate"):
        read_receiver_authority(receiver_of(platform, authority="site-ca.crt"))


def test_the_end_of_the_receiver_s_certificate_is_watched_where_it_is_ours(
    lock: Path, platform: Platform, tmp_path: Path
) -> None:
    test_loading_twice_gives_equal_materials(lock, platform, tmp_path)
    told = receiver_of(platform)
    assert told.alert_receiver is not None
    issue_receiver_certificate(told.environment, told.alert_receiver)
    assert "alert-receiver" in load_materials(told, MOMENT).certificate_ends
    (tmp_path / "site-ca.crt").write_bytes(issue_certificates(platform).root.read_bytes())
    other = load_materials(receiver_of(platform, authority="site-ca.crt"), MOMENT)
    assert "alert-receiver" not in other.certificate_ends
    assert other.receiver_authority.startswith("-----BEGIN CERTIFICATE-----")


def _write_manifest(folder: Path, patch: pytest.MonkeyPatch, platform: Platform, text: str) -> None:
    patch.setattr(recorded, "stack_file", lambda environment: folder / f"Pulumi.{environment}.yaml")
    path = folder / platform.artefact("tiny-llama").manifest
    path.parent.mkdir()
    path.write_text(text)
