"""Controller side of ``llmaas.host.file_set``: renders templates and reads files for the module."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.template import trust_as_template

_SOURCES = ("template", "src", "content")


class ActionModule(ActionBase):
    """Turns every entry's ``template``, ``src`` or ``content`` into one of the module's ``contents``."""

    TRANSFERS_FILES = False
    _requires_connection = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Render, then run the module on the host."""
        del tmp
        variables = task_vars or {}
        result: dict[str, Any] = super().run(None, variables)
        arguments = dict(self._task.args)
        files = [dict(entry) for entry in arguments.get("files") or []]
        contents = {entry["path"]: self._content(entry, variables) for entry in files}
        if len(contents) < len(files):
            raise AnsibleActionFail("files: two have the same path")
        arguments |= {"files": files, "contents": contents}
        result.update(
            self._execute_module(module_name="llmaas.host.file_set", module_args=arguments, task_vars=variables)
        )
        return result

    def _content(self, entry: dict[str, Any], variables: dict[str, Any]) -> str:
        """What a file will hold, in base64; the entry keeps all that is no content."""
        given = [key for key in _SOURCES if entry.get(key) is not None]
        if len(given) != 1:
            raise AnsibleActionFail(f"{entry.get('path')}: give exactly one of template, src and content, not {given}")
        source = given[0]
        value, awaited = entry.pop(source), bool(entry.pop("awaited", False))
        if source == "template":
            content = self._rendered(str(value), entry, variables).encode()
        elif awaited and self._task.check_mode and not Path(str(value)).exists():
            # what it will be nobody knows yet; it is not what is on the host
            content = b""
        elif source == "src":
            content = Path(self._find_needle("files", str(value))).read_bytes()
        else:
            content = str(value).encode()
        return base64.b64encode(content).decode("ascii")

    def _rendered(self, name: str, entry: dict[str, Any], variables: dict[str, Any]) -> str:
        path = Path(self._find_needle("templates", name))
        templar = self._templar.copy_with_new_env(
            searchpath=[str(path.parent)], available_variables={**variables, "item": entry.get("item")}
        )
        text = trust_as_template(path.read_text(encoding="utf-8"))
        overrides = {"trim_blocks": True, "lstrip_blocks": True}
        return str(templar.template(text, escape_backslashes=False, overrides=overrides))
