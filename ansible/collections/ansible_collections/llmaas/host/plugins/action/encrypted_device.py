"""Controller side of ``llmaas.host.encrypted_device``: recovery keys, records and copies of headers.

The recovery key of a new volume is made here, written down encrypted to its recipients before the device is touched,
and handed to the host's cryptsetup through standard input. Neither this machine nor the host can read it afterwards.
"""

from __future__ import annotations

import base64
import json
import secrets
import subprocess
import uuid
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase

_KEY_BYTES = 32
_GROUP = 4


class ActionModule(ActionBase):
    """Takes, beside the module's options, ``records`` (a folder here), ``recipients``, ``where`` and ``erase``.

    With ``new_recovery_key`` a volume of ours gets a new one in place of the old.
    """

    TRANSFERS_FILES = False
    _requires_connection = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Judge the device, make what is missing, and keep the record."""
        del tmp
        variables = task_vars or {}
        result: dict[str, Any] = super().run(None, variables)
        arguments = dict(self._task.args)
        records, recipients = Path(arguments.pop("records")), list(arguments.pop("recipients"))
        where, erase = arguments.pop("where"), list(arguments.pop("erase", []))
        renew = boolean(arguments.pop("new_recovery_key", False))
        record = _read(records / f"{arguments['purpose']}.json")
        judged = self._module("data_devices", _question(arguments, where, record, erase), variables)
        if judged.get("failed") or judged["problems"]:
            return {**result, "failed": True, "msg": judged.get("msg") or "\n".join(judged["problems"])}
        check = bool(self._task.check_mode)
        if judged["states"][arguments["path"]] == "new":
            arguments |= self._new(arguments, records, recipients, check=check)
        else:
            # a run that was interrupted after the volume was bound may have left it without a file system
            arguments |= {"format": False, "uuid": record["uuid"], "file_system": record["status"] == "formatting"}
            if renew:
                # in a check run one that nobody keeps: the host only says that it would replace its own by it
                made = _recovery_key() if check else self._recovery_key(arguments, records, recipients)
                arguments["recovery_key"] = made
        done = self._module("encrypted_device", arguments, variables)
        result.update(done)
        if done.get("failed") or check:
            return result
        copied = record.get("epoch") == done["epoch"] and record.get("uuid") == done["uuid"]
        if not copied:
            self._copy_header(arguments, records, recipients, variables)
            # it opens nothing any more
            for before in records.glob(f"{arguments['purpose']}-*.recovery.age.before"):
                before.unlink()
            result["changed"] = True
            result["actions"] = [*done["actions"], f"copy the header of {arguments['path']}, encrypted"]
            kept = {"path": arguments["path"], "uuid": done["uuid"], "status": "ready", "epoch": done["epoch"]}
            _write(records / f"{arguments['purpose']}.json", kept)
        return result

    def _new(self, arguments: dict[str, Any], records: Path, recipients: list[str], *, check: bool) -> dict[str, Any]:
        """Make the recovery key of a new volume and write it down for its recipients."""
        made = {"format": True, "uuid": str(uuid.uuid4())}
        if check:
            return made
        key = self._recovery_key({**arguments, **made}, records, recipients)
        _write(
            records / f"{arguments['purpose']}.json",
            {"path": arguments["path"], "uuid": made["uuid"], "status": "formatting", "epoch": 0},
        )
        return {**made, "recovery_key": key}

    def _recovery_key(self, arguments: dict[str, Any], records: Path, recipients: list[str]) -> str:
        """A new key, written down for its recipients; the one before stays beside it until it opens nothing."""
        if not self._arguments_stay_in_memory():
            raise AnsibleActionFail(
                "pipelining is off: the recovery key would be written to the host's disk; set pipelining = true and"
                " leave ANSIBLE_KEEP_REMOTE_FILES unset"
            )
        key = _recovery_key()
        text = f"recovery key of {arguments['path']}, LUKS {arguments['uuid']}, on {records.name}\n{key}\n"
        records.mkdir(mode=0o700, parents=True, exist_ok=True)
        target = records / f"{arguments['purpose']}-{arguments['uuid']}.recovery.age"
        if target.exists():
            target.replace(target.with_suffix(".age.before"))
        _encrypt(text.encode(), recipients, target)
        return key

    def _copy_header(
        self, arguments: dict[str, Any], records: Path, recipients: list[str], variables: dict[str, Any]
    ) -> None:
        asked = {"path": arguments["path"], "recipients": recipients}
        made = self._module("luks_header", asked, variables)
        if made.get("failed"):
            raise AnsibleActionFail(f"the header of {arguments['path']} could not be copied: {made['msg']}")
        target = records / f"{arguments['purpose']}-{arguments['uuid']}.header.age"
        temporary = target.with_suffix(".part")
        self._connection.fetch_file(made["file"], str(temporary))
        temporary.chmod(0o600)
        temporary.replace(target)
        self._module("luks_header", {**asked, "state": "absent"}, variables)

    def _arguments_stay_in_memory(self) -> bool:
        """Whether a module's arguments, a key among them, reach the host without becoming a file there."""
        # Mitogen hands them to the Python that it keeps running there, and has no pipelining to ask for
        by_mitogen = any(kind.__module__.startswith("ansible_mitogen") for kind in type(self._connection).__mro__)
        return by_mitogen or self._is_pipelining_enabled("new")

    def _module(self, name: str, arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        done: dict[str, Any] = self._execute_module(
            module_name=f"llmaas.host.{name}", module_args=arguments, task_vars=variables
        )
        return done


def _question(arguments: dict[str, Any], where: str, record: dict[str, Any], erase: list[str]) -> dict[str, Any]:
    device = {
        "where": where,
        "purpose": arguments["purpose"],
        "path": arguments["path"],
        "mount": arguments["mount"],
        "uuid": record.get("uuid", ""),
        "status": record.get("status", ""),
    }
    return {"devices": [device], "erase": [path for path in erase if path == arguments["path"]]}


def _recovery_key() -> str:
    """A key that can be typed: 256 bits in groups of letters and digits."""
    text = base64.b32encode(secrets.token_bytes(_KEY_BYTES)).decode("ascii").rstrip("=")
    return "-".join(text[index : index + _GROUP] for index in range(0, len(text), _GROUP))


def _encrypt(content: bytes, recipients: list[str], target: Path) -> None:
    to = [word for recipient in recipients for word in ("--recipient", recipient)]
    try:
        done = subprocess.run(
            ["age", "--encrypt", "--armor", *to, "--output", str(target)],
            input=content,
            check=False,
            capture_output=True,
        )
    except FileNotFoundError as error:
        raise AnsibleActionFail("age is not installed on this machine; run: apt-get install age") from error
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip()
        raise AnsibleActionFail(f"llmaas:disk_encryption.recovery_recipients: age refused them: {said}")
    target.chmod(0o600)


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _write(path: Path, record: dict[str, Any]) -> None:
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    temporary.replace(path)
