"""Erased volumes and their certificates. The volume is real LUKS2 in a file; its key servers are in tests/emulated."""

import json
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.llmaas.host.plugins.module_utils import luks_erasure
from ansible_collections.llmaas.host.plugins.module_utils.luks_volume import LuksVolume
from ansible_collections.llmaas.host.plugins.modules import data_devices, erased_device
from llmaas_gateway.audit.signing import AUDIT, ERASURE, Signer, Verifier
from typer.testing import CliRunner

from llmaas.cli.decommission import app
from llmaas.erasure import CertificateError, issue, problems
from llmaas.secrets import SecretStore

KEY = "the key that the key servers give"
UUID = "11111111-2222-3333-4444-555555555555"
NOW = datetime(2026, 11, 25, 5, 0, tzinfo=UTC)
Issue = Callable[..., Path]


@pytest.fixture
def volume(tmp_path: Path) -> LuksVolume:
    assert shutil.which("cryptsetup"), "cryptsetup is not installed; run: make packages"
    path = tmp_path / "disk"
    with path.open("wb") as file:
        file.truncate(32 << 20)
    quick = ("--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "--key-file", "-")
    for command in (
        ["luksFormat", "--batch-mode", "--type", "luks2", "--uuid", UUID, *quick, str(path)],
        ["token", "import", "--json-file", "-", str(path)],
    ):
        given = KEY if command[0] == "luksFormat" else json.dumps({"type": "clevis", "keyslots": ["0"], "jwe": {}})
        subprocess.run(["cryptsetup", *command], input=given, text=True, check=True)
    return LuksVolume(str(path), "llmaas-test")


def erasure(volume: LuksVolume, key: str = KEY) -> dict[str, Any]:
    found = luks_erasure.erase(volume, key, "" if key else "key servers are silent")
    return {"path": "/dev/disk/by-id/nvme-one", "purpose": "volumes", "disk": {"serial": "S1"}, **found}


@pytest.fixture
def certify(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Issue:
    monkeypatch.setenv("LLMAAS_STATE", str(tmp_path / "state"))
    records = tmp_path / "records"
    records.mkdir()
    for name in (f"volumes-{UUID}.recovery.age", f"volumes-{UUID}.header.age"):
        (records / name).write_text("sealed")
    (records / "volumes.json").write_text(json.dumps({"uuid": UUID, "status": "ready"}))

    def make(*erasures: dict[str, Any]) -> Path:
        return issue("sample", "gpu-host-09", erasures=erasures, node="drained", by="Ada", records=records, moment=NOW)

    return make


def verifier(purpose: bytes = ERASURE) -> Verifier:
    signer = Signer.from_secret(SecretStore.open("sample").text("evidence-signing-key"))
    return Verifier.from_pems([signer.public_pem()], purpose)


def test_the_key_that_opened_the_volume_opens_it_no_more(volume: LuksVolume) -> None:
    assert luks_erasure.attempt(volume.path, KEY) == "opened"
    found = erasure(volume)
    assert found["attempts"][0]["before"] == "opened"
    assert "No usable keyslot" in found["attempts"][0]["after"]
    assert luks_erasure.attempt(volume.path, KEY) != "opened"
    assert (found["key_slots"], found["bindings"]) == ({"before": 1, "after": 0}, {"before": 1, "after": 0})
    assert found["header_sha256"]["before"] != found["header_sha256"]["after"]
    assert found["luks_uuid"] == UUID


def test_nothing_of_the_slot_is_left_on_the_disk(volume: LuksVolume) -> None:
    area = volume.metadata()["keyslots"]["0"]["area"]
    start, size = int(area["offset"]), int(area["size"])
    before = Path(volume.path).read_bytes()[start : start + size]
    erasure(volume)
    after = Path(volume.path).read_bytes()[start : start + size]
    same = sum(one == other for one, other in zip(before, after, strict=True)) / size
    assert same < 0.05


def test_no_key_stands_in_what_is_certified(volume: LuksVolume) -> None:
    assert KEY not in json.dumps(erasure(volume))


def test_an_interrupted_erasure_goes_on(volume: LuksVolume, certify: Issue) -> None:
    subprocess.run(["cryptsetup", "erase", "--batch-mode", volume.path], check=True)
    found = erasure(volume, key="")
    assert found["key_slots"] == {"before": 0, "after": 0}
    assert problems(certify(found).read_text(), verifier()) == []
    again = erasure(volume, key="")
    assert again["bindings"] == {"before": 0, "after": 0}


def test_a_volume_that_still_opens_is_not_certified(volume: LuksVolume, monkeypatch: pytest.MonkeyPatch) -> None:
    real = luks_erasure.output
    monkeypatch.setattr(luks_erasure, "output", lambda *words: "" if "erase" in words else real(*words))
    with pytest.raises(ValueError, match="is not erased: slots"):
        erasure(volume)


def test_a_certificate_holds_and_copies_of_keys_and_headers_are_gone(volume: LuksVolume, certify: Issue) -> None:
    path = certify(erasure(volume))
    assert problems(path.read_text(), verifier()) == []
    statement = json.loads(path.read_text())["statement"]
    assert (statement["host"], statement["by"], statement["at"]) == ("gpu-host-09", "Ada", "2026-11-25T05:00:00+00:00")
    assert statement["copies_removed"] == [f"volumes-{UUID}.header.age", f"volumes-{UUID}.recovery.age"]
    assert list(path.parent.glob("*.age")) == []
    assert json.loads((path.parent / "volumes.json").read_text())["status"] == "erased"


def altered(certificate: dict[str, Any], place: str, value: object) -> str:
    *steps, last = place.split("/")
    target: Any = certificate
    for step in steps:
        target = target[int(step)] if isinstance(target, list) else target[step]
    target[last] = value
    return json.dumps(certificate)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("statement/host", "gpu-host-10"),
        ("statement/at", "2026-11-26T05:00:00+00:00"),
        ("statement/devices/0/luks_uuid", UUID.replace("1", "2")),
        ("statement/devices/0/header_sha256/after", "0" * 64),
        ("signature", "0" * 128),
        ("key", "0" * 32),
    ],
)
def test_an_altered_certificate_does_not_hold(volume: LuksVolume, certify: Issue, place: str, value: object) -> None:
    content = json.loads(certify(erasure(volume)).read_text())
    assert problems(altered(content, place, value), verifier()) != []


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("key_slots", {"before": 2, "after": 1}, "1 key_slots are left"),
        ("bindings", {"before": 1, "after": 1}, "1 bindings are left"),
        ("header_sha256", {"before": "a", "after": "a"}, "its header is the same as before"),
        ("attempts", [], "nobody tried to open it"),
        ("attempts", [{"with": "a key", "before": "opened", "after": "opened"}], "a key still opens it"),
        ("attempts", None, "is not whole"),
    ],
)
def test_what_shows_no_erasure_is_neither_signed_nor_held(
    volume: LuksVolume, certify: Issue, place: str, value: object, said: str
) -> None:
    found = erasure(volume) | {place: value}
    with pytest.raises(CertificateError, match=said):
        certify(found)
    signer = Signer.from_secret(SecretStore.open("sample").text("evidence-signing-key"), ERASURE)
    statement = {"is": "erasure of a host's data devices", "environment": "e", "host": "h", "at": "t", "by": "b"}
    text = json.dumps(signer.sign({**statement, "devices": [found]}).content())
    assert any(said in problem for problem in problems(text, verifier()))


def test_a_signature_of_the_audit_is_none_of_an_erasure(volume: LuksVolume, certify: Issue) -> None:
    assert problems(certify(erasure(volume)).read_text(), verifier(AUDIT)) != []


def test_the_command_verifies_with_the_public_key_alone(volume: LuksVolume, certify: Issue, tmp_path: Path) -> None:
    path = certify(erasure(volume))
    key = tmp_path / "key.pem"
    key.write_text(Signer.from_secret(SecretStore.open("sample").text("evidence-signing-key")).public_pem())
    shutil.rmtree(tmp_path / "state")
    assert CliRunner().invoke(app, ["verify", str(path), "--key", str(key)]).exit_code == 0
    path.write_text(path.read_text().replace("Ada", "Eve"))
    assert CliRunner().invoke(app, ["verify", str(path), "--key", str(key)]).exit_code == 1
    path.write_text("no certificate")
    assert CliRunner().invoke(app, ["verify", str(path), "--key", str(key)]).exit_code == 1
    assert CliRunner().invoke(app, ["verify", str(path), "--key", str(path)]).exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["gpu-host-09"], "say it again with --confirm gpu-host-09"),
        (["gpu-host-09", "--confirm", "gpu-host-10"], "say it again with --confirm gpu-host-09"),
        (["gpu-host-99", "--confirm", "gpu-host-99"], "no host of stacks/Pulumi.production.yaml"),
        (["control-01", "--confirm", "control-01"], "has no data_devices"),
    ],
)
def test_only_a_named_and_confirmed_host_is_erased(arguments: list[str], said: str) -> None:
    done = CliRunner().invoke(app, ["run", *arguments, "-e", "production"])
    assert done.exit_code == 2
    assert said in done.output


def test_an_erased_device_is_no_longer_ours() -> None:
    entry = {"where": "w", "purpose": "logs", "path": "/dev/x", "mount": "/nowhere", "uuid": UUID, "status": "erased"}
    device = data_devices.BlockDevice("/dev/x", "disk", 1, "crypto_LUKS", "", UUID, (), (), blank_start=False)
    state, found = data_devices.judge(entry, device, erase=False)
    assert (state, len(found)) == ("new", 1)
    assert "was erased when its host was decommissioned" in found[0]
    assert data_devices.judge(entry, device, erase=True) == ("new", [])


def test_tables_forget_the_volume_alone(tmp_path: Path) -> None:
    table = tmp_path / "crypttab"
    table.write_text("# llmaas-logs by hand\nllmaas-logs UUID=1 none luks\nother UUID=2 none luks\n")
    assert erased_device.without(str(table), 0, "llmaas-logs")
    assert table.read_text() == "# llmaas-logs by hand\nother UUID=2 none luks\n"
    assert not erased_device.without(str(table), 0, "llmaas-logs")
