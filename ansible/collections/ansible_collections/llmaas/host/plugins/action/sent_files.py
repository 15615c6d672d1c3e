"""Controller side of ``llmaas.host.sent_files``: sends the files, which the module then verifies and puts in place."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.llmaas.host.plugins.module_utils.digests import PART


class ActionModule(ActionBase):
    """Takes the module's ``files``, each with ``src``, a file of the controller."""

    TRANSFERS_FILES = False
    _requires_connection = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send beside the places, then let the module verify; in check mode nothing is sent."""
        del tmp
        result: dict[str, Any] = super().run(None, task_vars)
        files = [dict(entry) for entry in self._task.args["files"]]
        if self._task.check_mode:
            return {**result, "changed": bool(files), "changed_paths": [entry["path"] for entry in files]}
        for entry in files:
            self._connection.put_file(entry.pop("src"), entry["path"] + PART)
        arguments = {"files": files, "apply": self._task.args.get("apply", [])}
        result.update(
            self._execute_module(module_name="llmaas.host.sent_files", module_args=arguments, task_vars=task_vars)
        )
        return result
