"""What a check run says of recovery keys that are to be exchanged; programs of the test's own play the volume."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from playbooks import LOCAL, programs, run_play
from unit.disks.tang import OWN, SIGNING

UUID = "11111111-2222-3333-4444-555555555555"
SERVER = "http://10.0.0.1:7500"


def encoded(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def metadata() -> str:
    """The header of a volume that is bound to the key server."""
    inner = {"clevis": {"pin": "tang", "tang": {"url": SERVER, "adv": {"keys": [SIGNING]}}}}
    outer = {"clevis": {"pin": "sss", "sss": {"t": 1, "jwe": [f"{encoded(inner)}.x.x.x.x"]}}}
    token = {"type": "clevis", "keyslots": ["1"], "jwe": {"protected": encoded(outer)}}
    return json.dumps({"segments": {}, "keyslots": {}, "tokens": {"0": token}})


def asked_programs(folder: Path) -> dict[str, str]:
    """In place of those that ask a device; each writes down what it is asked."""
    shown = {
        "lsblk": """echo '{"blockdevices": [{"type": "disk", "size": 1048576}]}'""",
        "blkid": f"echo TYPE=crypto_LUKS; echo UUID={UUID}",
        "cryptsetup": f"""case "$*" in
            luksUUID*) echo {UUID};;
            *--dump-json-metadata*) echo '{metadata()}';;
            luksDump*) echo 'Epoch: 3';;
            esac""",
        "clevis": "",
    }
    return programs(folder, {name: f'echo "$0 $*" >> {folder}/asked\n{script}' for name, script in shown.items()})


@pytest.mark.parametrize("renew", [True, False])
def test_a_check_run_tells_that_recovery_keys_would_be_replaced_and_makes_none(tmp_path: Path, *, renew: bool) -> None:
    disk = tmp_path / "disk"
    disk.touch()
    records = tmp_path / "records"
    records.mkdir()
    (records / "logs.json").write_text(json.dumps({"path": str(disk), "uuid": UUID, "status": "ready", "epoch": 3}))
    (records / f"logs-{UUID}.recovery.age").write_text("as before")
    before = {path: path.read_text() for path in records.iterdir()}
    device = {
        "path": str(disk),
        "purpose": "logs",
        "where": "hosts[0].data_devices[0]",
        "mount": "/nowhere/logs",
        "threshold": 1,
        "servers": {SERVER: OWN},
        "new_recovery_key": renew,
        "records": str(records),
        "recipients": ["somebody"],
    }
    told = "{{ made.changed }}, to do: {{ made.actions | join('; ') }}"
    tasks = [
        {"name": "Encrypt", "llmaas.host.encrypted_device": device, "register": "made"},
        {"name": "Tell", "ansible.builtin.debug": {"msg": told}},
    ]
    play = {"name": "Encrypt", "hosts": "all", "gather_facts": False, "tasks": tasks}
    done = run_play(tmp_path, {"all": {"hosts": {"one": LOCAL}}}, play, "--check", **asked_programs(tmp_path))
    said = " ".join(done.stdout.split())
    assert done.returncode == 0, said + done.stderr
    first = f"replace the recovery key of {disk}" if renew else f"open {disk}"
    assert f"True, to do: {first}" in said
    assert {path: path.read_text() for path in records.iterdir()} == before
    asked = (tmp_path / "asked").read_text()
    assert "luksDump" in asked
    assert "luksAddKey" not in asked
    assert "clevis" not in asked
