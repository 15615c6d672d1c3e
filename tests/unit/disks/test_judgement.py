"""Which device may be formatted, told from what lies on it; the devices themselves are in tests/emulated."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.llmaas.host.plugins.module_utils import block_devices, key_servers
from ansible_collections.llmaas.host.plugins.module_utils.block_devices import BlockDevice
from ansible_collections.llmaas.host.plugins.modules import data_devices, encrypted_device, plain_swap, probe

from llmaas.paths import PROJECT_ROOT
from llmaas.views.disks import MOUNTS

UUID = "11111111-2222-3333-4444-555555555555"
OTHER = "99999999-2222-3333-4444-555555555555"
PATH = "/dev/disk/by-id/virtio-one"
WHERE = "llmaas:hosts[3].data_devices[0]"

BLANK: dict[str, Any] = {
    "path": PATH,
    "kind": "disk",
    "size_bytes": 1 << 30,
    "signature": "",
    "partition_table": "",
    "uuid": "",
    "children": (),
    "mounted_at": (),
    "blank_start": True,
}


def device(**changes: Any) -> BlockDevice:
    return BlockDevice(**(BLANK | changes))


LUKS = device(signature="crypto_LUKS", uuid=UUID, blank_start=False)


def judge(found: BlockDevice | None, *, erase: bool = False, uuid: str = "", status: str = "") -> tuple[str, list[str]]:
    entry = {"where": WHERE, "purpose": "logs", "path": PATH, "mount": "/nowhere/logs", "uuid": uuid, "status": status}
    judged: tuple[str, list[str]] = data_devices.judge(entry, found, erase=erase)
    return judged


def test_an_empty_disk_is_taken() -> None:
    assert judge(device()) == ("new", [])


def test_the_recorded_volume_is_ours_and_never_formatted() -> None:
    assert judge(LUKS, uuid=UUID, status="ready") == ("ours", [])
    assert judge(LUKS, uuid=UUID, status="ready", erase=True) == ("ours", [])


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (device(signature="ext4", uuid=OTHER, blank_start=False), f"it holds ext4 {OTHER}"),
        (device(signature="crypto_LUKS", uuid=OTHER, blank_start=False), f"it holds crypto_LUKS {OTHER}"),
        (device(partition_table="gpt", blank_start=False), "it has a partition table (gpt)"),
        (device(children=(("sda1", "part"),)), "sda1 (part) lies on it"),
        (device(mounted_at=("/srv",)), "it is mounted at /srv"),
        (device(blank_start=False), "its first 1 MiB are not empty"),
        (device(kind="part"), "is no whole disk but of the kind part"),
    ],
    ids=["file system", "another volume", "partition table", "partition", "mounted", "unknown content", "a partition"],
)
def test_a_device_that_is_anything_else_is_refused_by_its_path_in_the_stack_file(found: BlockDevice, said: str) -> None:
    state, problems = judge(found)
    assert state == "new"
    (problem,) = problems
    assert problem.startswith(f"{WHERE}.path: {PATH}")
    assert said in problem


def test_content_goes_when_it_is_confirmed_and_use_never_does() -> None:
    assert judge(device(signature="ext4", blank_start=False), erase=True) == ("new", [])
    for used in (device(mounted_at=("/srv",)), device(children=(("md0", "raid1"),))):
        assert len(judge(used, erase=True)[1]) == 1


@pytest.mark.parametrize("found", [device(), device(signature="crypto_LUKS", uuid=OTHER, blank_start=False)])
def test_a_swapped_disk_is_refused(found: BlockDevice) -> None:
    (problem,) = judge(found, uuid=UUID, status="ready")[1]
    assert f"{PATH} is not the recorded disk (LUKS {UUID})" in problem


def test_a_missing_disk_is_named() -> None:
    (problem,) = judge(None)[1]
    assert problem.startswith(f"{WHERE}.path: {PATH} is not there")


def encoded(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def test_a_thumbprint_is_that_of_the_standard() -> None:
    # the example of RFC 7638, section 3.1
    modulus = (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhM"
        "stn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5"
        "hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
    )
    key = {"kty": "RSA", "n": modulus, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"}
    assert key_servers.thumbprint(key) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


def test_a_binding_tells_its_threshold_and_the_keys_of_its_servers() -> None:
    key = {"kty": "EC", "crv": "P-521", "x": "x", "y": "y", "key_ops": ["verify"]}
    inner = {"clevis": {"pin": "tang", "tang": {"url": "http://10.0.0.1:7500", "adv": {"keys": [key]}}}}
    outer = {"clevis": {"pin": "sss", "sss": {"t": 1, "jwe": [f"{encoded(inner)}.x.x.x.x"]}}}
    assert key_servers.binding_of({"jwe": {"protected": encoded(outer)}}) == {
        "threshold": 1,
        "servers": {"http://10.0.0.1:7500": [key_servers.thumbprint(key)]},
    }


def test_swap_in_the_clear_becomes_a_remark_and_nothing_else_changes() -> None:
    table = (
        "/dev/vda / ext4 defaults 0 1\nUUID=1 none swap sw 0 0\n/dev/mapper/swap none swap sw 0 0\n# UUID=2 none swap\n"
    )
    kept = {"/dev/mapper/swap"}.__contains__
    assert plain_swap.without_swap(table, kept).splitlines() == [
        "/dev/vda / ext4 defaults 0 1",
        "# swap in the clear: UUID=1 none swap sw 0 0",
        "/dev/mapper/swap none swap sw 0 0",
        "# UUID=2 none swap",
    ]
    once = plain_swap.without_swap(table, kept)
    assert plain_swap.without_swap(once, kept) == once


@pytest.mark.parametrize(
    ("source", "encrypted"),
    [
        ("/dev/mapper/swap", True),
        ("/dev/zram0", True),
        # what Debian's installer makes of its own accord with LVM
        ("/dev/mapper/debian--vg-swap_1", False),
        ("UUID=00000000-aaaa-bbbb-cccc-000000000000", False),
        ("/swapfile", False),
        ("none", False),
    ],
)
def test_swap_counts_as_encrypted_only_where_a_volume_holds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, source: str, encrypted: bool
) -> None:
    table = tmp_path / "crypttab"
    table.write_text("# swap of old\n\nswap /dev/vda5 /dev/urandom swap\n")
    monkeypatch.setattr(plain_swap, "CRYPTTAB", str(table))
    assert plain_swap.is_encrypted(source) is encrypted


@pytest.mark.parametrize(
    ("container", "areas", "stays"),
    [
        (True, ["/dev/vda5"], True),
        (True, [], False),
        # a host of its own turns this off before kubelet comes
        (False, ["/dev/vda5", "/swapfile"], False),
        (False, ["/dev/vda5", "/dev/dm-3"], True),
        (False, ["/dev/zram0"], True),
    ],
)
def test_kubelet_lives_with_swap_that_is_encrypted_or_not_the_host_s_own_alone(
    monkeypatch: pytest.MonkeyPatch, *, container: bool, areas: list[str], stays: bool
) -> None:
    for module in (block_devices, probe):
        monkeypatch.setattr(module, "swap_areas", lambda: areas)
    monkeypatch.setattr(block_devices, "on_crypt", lambda area: area == "/dev/dm-3")
    monkeypatch.setattr(probe.os.path, "exists", lambda _: container)
    assert probe.swap_stays() is stays


def test_a_table_has_one_line_for_a_volume(tmp_path: Any) -> None:
    table = tmp_path / "crypttab"
    table.write_text("# by hand\nllmaas-logs UUID=old none luks\nother UUID=x none luks\n")
    line = f"llmaas-logs UUID={UUID} none luks,_netdev,nofail"
    assert encrypted_device.ensure_line(str(table), 0, line, check=True)
    assert "UUID=old" in table.read_text()
    assert encrypted_device.ensure_line(str(table), 0, line, check=False)
    assert table.read_text().splitlines() == ["# by hand", "other UUID=x none luks", line]
    assert not encrypted_device.ensure_line(str(table), 0, line, check=False)


class Volume:
    """One that is bound and open, and remembers the recovery key that it was given."""

    def __init__(self) -> None:
        self.given: list[str] = []

    def name_taken(self) -> str:
        return ""

    def weaknesses(self) -> list[str]:
        return []

    def is_bound_to(self, *_: Any) -> bool:
        return True

    def is_open(self) -> bool:
        return True

    def replace_recovery_key(self, key: str) -> None:
        self.given.append(key)


@pytest.mark.parametrize(("check", "given"), [(True, []), (False, ["new"])])
def test_a_recovery_key_that_would_be_replaced_is_told_and_a_check_run_leaves_it(
    *, check: bool, given: list[str]
) -> None:
    volume, actions = Volume(), []
    asked = {"path": PATH, "format": False, "threshold": 1, "servers": {}, "recovery_key": "new"}
    encrypted_device.prepare(volume, asked, actions, check=check)
    assert actions == [f"replace the recovery key of {PATH}"]
    assert volume.given == given


def test_preview_and_role_mean_the_same_folders() -> None:
    variables = yaml.safe_load((PROJECT_ROOT / "ansible/roles/disk_encryption/vars/main.yml").read_text())
    mounted = {purpose: each["mount"] for purpose, each in variables["__disk_encryption_purposes"].items()}
    assert mounted == MOUNTS
