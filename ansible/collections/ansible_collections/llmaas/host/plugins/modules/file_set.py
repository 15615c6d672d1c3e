"""Writes many files in one call."""

from __future__ import annotations

import base64
import grp
import os
import pwd
import stat
import tempfile
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.llmaas.host.plugins.module_utils.commands import output
from ansible_collections.llmaas.host.plugins.module_utils.digests import sha256_of
from ansible_collections.llmaas.host.plugins.module_utils.effects import APPLY, apply
from ansible_collections.llmaas.host.plugins.module_utils.systemd_units import (
    ensure_held,
    ensure_masked,
    ensure_units,
    read_anew,
    refuse_unknown_words,
    release,
)

DOCUMENTATION = r"""
module: file_set
short_description: Many files and folders in one call
description:
  - Writes every file atomically, only when it differs, with owner and mode.
  - A file that does not validate is not written.
options:
  directories:
    description: Folders, parents first, each with path and optionally mode, owner and group.
    type: list
    elements: dict
    default: []
  files:
    description:
      - Files, each with path and exactly one of template (rendered), src (a file of the controller) or content.
      - Optionally mode, owner, group and validate, a command in which C(%s) stands for the new file.
      - The difference that one with I(secret) makes is never shown.
      - A I(src) with I(awaited) is made by an earlier task; a check run before it says that the file would change.
    type: list
    elements: dict
    default: []
  contents:
    description:
      - What I(files) hold, in base64 by path; the controller's side puts it there. Modules write what they are called
        with to the host's log, which leaves the host, keys among it; these stay out of it.
    type: dict
    default: {}
  absent:
    description: Paths of files that must not exist.
    type: list
    elements: path
    default: []
  exclusive:
    description: Folders in which no other files may lie, each with path and names.
    type: list
    elements: dict
    default: []
  masked_units:
    description: Units of systemd that can never run.
    type: list
    elements: str
    default: []
  held_units:
    description:
      - Units that packages bring along and that start no sooner than a later call names them in I(units).
        They are masked while their package is not installed; one that is installed is left as it is.
    type: list
    elements: str
    default: []
  existing:
    description: Paths of which those that are there are returned, so that later tasks need not look.
    type: list
    elements: path
    default: []
  expected:
    description: Files that are placed by other means, each with path and sha256; those that differ are returned.
    type: list
    elements: dict
    default: []
  units:
    description:
      - Units of systemd that must be enabled and run, each with name. Where files of units changed, now or before,
        systemd reads them as soon as all files are written; units start after the commands of I(apply).
      - One that is masked, as I(held_units) are, is masked no longer.
      - Those whose I(restart_if) names a file written since their last start are restarted.
      - One with I(start_if) is only enabled while nothing is at that path, one with I(start) false in any case.
    type: list
    elements: dict
    default: []
  apply:
    description:
      - Commands of the shell that make files take effect, each with command and optionally I(of), paths of the files;
        without it, all I(files) of the call. They run before any of I(units) starts, which may rely on them, and find
        systemd with the units as written.
      - One is due until it has succeeded for the files as they are, whatever ended the run that wrote them.
      - One with I(only_with) is passed over while nothing is at that path.
    type: list
    elements: dict
    default: []
author: The authors of llmaas
"""

EXAMPLES = r"""
- name: Configure the clock
  llmaas.host.file_set:
    files:
      - {path: /etc/chrony/chrony.conf, template: chrony.conf.j2}
    units:
      - {name: chrony.service, restart_if: [/etc/chrony/chrony.conf]}
"""

RETURN = r"""
changed_paths:
  description: What was or would be changed.
  returned: always
  type: list
  elements: str
existing_paths:
  description: The paths of I(existing) that are there.
  returned: always
  type: list
  elements: str
applied:
  description: The commands of I(apply) that were or would be run.
  returned: always
  type: list
  elements: str
unexpected_paths:
  description: The paths of I(expected) whose content is another, or that are not there.
  returned: always
  type: list
  elements: str
"""

TEXT_LIMIT = 64 * 1024


def wanted_owner(entry: dict[str, Any]) -> tuple[int, int]:
    """Numbers of owner and group; names and numbers are both understood."""
    owner, group = str(entry.get("owner", "root")), str(entry.get("group", "root"))
    uid = int(owner) if owner.isdigit() else pwd.getpwnam(owner).pw_uid
    gid = int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
    return uid, gid


def attributes_differ(path: str, mode: int, owner: tuple[int, int]) -> bool:
    """Whether mode or owner of an existing path is not as wanted."""
    found = os.stat(path)
    return stat.S_IMODE(found.st_mode) != mode or (found.st_uid, found.st_gid) != owner


def ensure_directory(entry: dict[str, Any], *, check: bool) -> bool:
    """Make a folder or mend its mode and owner."""
    path, mode = entry["path"], int(str(entry.get("mode", "0755")), 8)
    if os.path.isdir(path) and not attributes_differ(path, mode, wanted_owner(entry)):
        return False
    if not check:
        os.makedirs(path, exist_ok=True)
        os.chmod(path, mode)
        os.chown(path, *wanted_owner(entry))
    return True


def current_content(path: str) -> bytes | None:
    """What is there now; None where there is no regular file."""
    if os.path.islink(path) or not os.path.isfile(path):
        return None
    with open(path, "rb") as file:
        return file.read()


def write_validated(entry: dict[str, Any], content: bytes) -> None:
    """Write beside the file, validate, then put it in place."""
    path = entry["path"]
    descriptor, temporary = tempfile.mkstemp(dir=os.path.dirname(path), prefix=f".{os.path.basename(path)}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, int(str(entry.get("mode", "0644")), 8))
        os.chown(temporary, *wanted_owner(entry))
        if entry.get("validate"):
            command = [word.replace("%s", temporary) for word in entry["validate"].split()]
            try:
                output(*command)
            except ValueError as error:
                raise ValueError(f"{path} is refused and not written: {error}") from error
        os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)


def text_of(content: bytes | None) -> str:
    """Content for a diff; binary or long content is only named."""
    if content is None:
        return ""
    if len(content) > TEXT_LIMIT or b"\0" in content:
        return f"({len(content)} bytes)\n"
    return content.decode("utf-8", "replace")


def ensure_file(entry: dict[str, Any], content: bytes, *, check: bool) -> dict[str, str] | None:
    """Write a file or mend its mode and owner; the diff, or None when nothing differs."""
    path = entry["path"]
    before = current_content(path)
    mode = int(str(entry.get("mode", "0644")), 8)
    if before == content:
        if not attributes_differ(path, mode, wanted_owner(entry)):
            return None
        if not check:
            os.chmod(path, mode)
            os.chown(path, *wanted_owner(entry))
        return {"before_header": path, "after_header": f"{path} (mode or owner)", "before": "", "after": ""}
    if not check:
        write_validated(entry, content)
    if entry.get("secret"):
        return {"before_header": path, "after_header": f"{path} (secret)", "before": "", "after": ""}
    return {"before_header": path, "after_header": path, "before": text_of(before), "after": text_of(content)}


def surplus_files(folders: list[dict[str, Any]]) -> list[str]:
    """Files that lie in exclusive folders without being named."""
    found = []
    for folder in folders:
        names = os.listdir(folder["path"]) if os.path.isdir(folder["path"]) else []
        found.extend(os.path.join(folder["path"], name) for name in sorted(names) if name not in folder["names"])
    return found


def unexpected_files(expected: list[dict[str, Any]]) -> list[str]:
    """Paths whose content has another SHA-256, or that are not there."""
    return [entry["path"] for entry in expected if sha256_of(entry["path"]) != entry["sha256"]]


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "directories": {"type": "list", "elements": "dict", "default": []},
            "files": {"type": "list", "elements": "dict", "default": []},
            "contents": {"type": "dict", "default": {}, "no_log": True},
            "absent": {"type": "list", "elements": "path", "default": []},
            "exclusive": {"type": "list", "elements": "dict", "default": []},
            "masked_units": {"type": "list", "elements": "str", "default": []},
            "held_units": {"type": "list", "elements": "str", "default": []},
            "existing": {"type": "list", "elements": "path", "default": []},
            "expected": {"type": "list", "elements": "dict", "default": []},
            "units": {"type": "list", "elements": "dict", "default": []},
            "apply": APPLY,
        },
        supports_check_mode=True,
    )
    changed: list[str] = []
    diffs: list[dict[str, str]] = []
    try:
        refuse_unknown_words(module.params["units"])
        changed.extend(
            entry["path"] for entry in module.params["directories"] if ensure_directory(entry, check=module.check_mode)
        )
        for entry in module.params["files"]:
            content = base64.b64decode(module.params["contents"][entry["path"]])
            diff = ensure_file(entry, content, check=module.check_mode)
            if diff is not None:
                changed.append(entry["path"])
                diffs.append(diff)
        masked = [ensure_masked(name, check=module.check_mode) for name in module.params["masked_units"]]
        masked += [ensure_held(name, check=module.check_mode) for name in module.params["held_units"]]
        changed.extend(path for path in masked if path is not None)
        changed.extend(release(module.params["units"], check=module.check_mode))
        for path in [*module.params["absent"], *surplus_files(module.params["exclusive"])]:
            if os.path.lexists(path):
                changed.append(path)
                if not module.check_mode:
                    os.unlink(path)
        unexpected = unexpected_files(module.params["expected"])
        states = read_anew(module.params["units"], changed, check=module.check_mode)
        written = [entry["path"] for entry in module.params["files"]]
        applied = apply(module.params["apply"], written, check=module.check_mode)
        done = ensure_units(module.params["units"], states, check=module.check_mode)
    except (OSError, ValueError, KeyError) as error:
        module.fail_json(msg=f"{type(error).__name__}: {error}", changed_paths=changed, changed=bool(changed))
    module.exit_json(
        changed=bool(changed or applied or done),
        changed_paths=changed,
        units=done,
        applied=applied,
        existing_paths=[path for path in module.params["existing"] if os.path.exists(path)],
        unexpected_paths=unexpected,
        diff=diffs,
    )


if __name__ == "__main__":
    main()
