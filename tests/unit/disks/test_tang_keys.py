"""Keys that a key server no longer advertises go only when they open nothing any more."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.llmaas.host.plugins.module_utils.key_servers import exchange_keys, thumbprint
from ansible_collections.llmaas.host.plugins.modules import tang_keys, volume_bindings
from ansible_collections.llmaas.host.plugins.modules.volume_bindings import LuksVolume


class Ended(Exception):  # noqa: N818
    """What the module ends with."""


def key(name: str, operation: str) -> dict[str, Any]:
    return {"kty": "EC", "crv": "P-521", "x": name, "y": name, "key_ops": [operation]}


OLD, NEW, SIGNING = key("old", "deriveKey"), key("new", "deriveKey"), key("sign", "verify")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keys of a server after a rotation."""
    monkeypatch.setattr(tang_keys, "FOLDER", str(tmp_path))
    for name, content in {".old.jwk": OLD, "new.jwk": NEW, "sign.jwk": SIGNING}.items():
        (tmp_path / name).write_text(json.dumps(content))
    return tmp_path


def forget(
    monkeypatch: pytest.MonkeyPatch, bound: list[dict[str, Any]], *, check: bool = False
) -> tuple[str, dict[str, Any]]:
    class Module:
        def __init__(self) -> None:
            self.params = {"rotate": False, "forget": True, "bound": bound}
            self.check_mode = check

        def exit_json(self, **result: Any) -> None:
            raise Ended("done", result)

        def fail_json(self, **result: Any) -> None:
            raise Ended("failed", result)

    monkeypatch.setattr(tang_keys, "AnsibleModule", lambda **_: Module())
    with pytest.raises(Ended) as ended:
        tang_keys.main()
    state, result = ended.value.args
    return state, result


def binding(host: str, name: dict[str, Any]) -> dict[str, str]:
    return {"host": host, "path": "/dev/nvme1n1", "key": thumbprint(name)}


def test_an_old_key_that_opens_a_volume_stays(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state, result = forget(monkeypatch, [binding("gpu-host-06", NEW), binding("gpu-host-07", OLD)])
    assert state == "failed"
    assert "still open /dev/nvme1n1 of gpu-host-07; bind them anew first" in result["msg"]
    assert (folder / ".old.jwk").exists()


def test_an_old_key_that_opens_nothing_goes_and_the_others_stay(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bound = [binding("gpu-host-06", NEW), binding("gpu-host-07", key("of another server", "deriveKey"))]
    assert forget(monkeypatch, bound, check=True)[1]["changed"] is True
    assert (folder / ".old.jwk").exists()
    state, result = forget(monkeypatch, bound)
    assert (state, result["forgotten"]) == ("done", 1)
    assert result["thumbprint"] == thumbprint(SIGNING)
    assert sorted(path.name for path in folder.iterdir()) == ["new.jwk", "sign.jwk"]


def encoded(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def share(kid: str) -> str:
    return f"{encoded({'kid': kid, 'clevis': {'pin': 'tang', 'tang': {'url': 'http://10.0.0.1:7500'}}})}.x.x.x.x"


TWO = {"clevis": {"pin": "sss", "sss": {"t": 1, "jwe": [share("one"), share("two")]}}}


@pytest.mark.parametrize(
    ("jwe", "keys"),
    [
        ({"protected": encoded(TWO)}, ["one", "two"]),
        (share("one"), ["one"]),
        ({"protected": encoded({"clevis": {"pin": "tpm2", "tpm2": {}}})}, []),
    ],
    ids=["a share of two servers", "one server", "no server"],
)
def test_a_binding_tells_every_key_that_it_needs(jwe: Any, keys: list[str]) -> None:
    assert exchange_keys(jwe) == keys


def test_a_binding_that_names_no_key_is_no_reason_to_forget() -> None:
    header = {"clevis": {"pin": "tang", "tang": {"url": "http://10.0.0.1:7500"}}}
    with pytest.raises(KeyError):
        exchange_keys({"protected": encoded(header)})


def test_a_volume_is_named_by_its_stable_id_where_it_has_one(tmp_path: Path) -> None:
    for name in ("vda", "vdb", "vdc"):
        (tmp_path / name).touch()
    links = tmp_path / "by-id"
    links.mkdir()
    (links / "virtio-data-01").symlink_to(tmp_path / "vda")
    (links / "virtio-data-02").symlink_to(tmp_path / "vdb")
    names = [volume_bindings.stable_name(str(tmp_path / name), str(links)) for name in ("vdb", "vdc")]
    assert names == [str(links / "virtio-data-02"), str(tmp_path / "vdc")]
    assert volume_bindings.stable_name("/dev/vdz", str(tmp_path / "absent")) == "/dev/vdz"


def test_every_volume_of_a_host_is_asked_and_every_binding_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(volume_bindings, "output", lambda *_, **__: "/dev/nvme1n1\n/dev/nvme2n1\n")
    tokens = {"0": {"jwe": {"protected": encoded(TWO)}}, "1": {"jwe": share("three")}}
    monkeypatch.setattr(LuksVolume, "bindings", lambda volume: tokens if volume.path == "/dev/nvme2n1" else {})
    assert volume_bindings.bindings() == [{"path": "/dev/nvme2n1", "key": name} for name in ("one", "two", "three")]
