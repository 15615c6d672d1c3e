"""Controller side of a decommissioning: signs what was erased. Touches no host.

Takes ``environment``, ``host``, ``erasures`` (what ``erased_device`` returned), ``node`` (what became of it), ``by``
(who asked for it) and ``records`` (the host's folder here).
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """Writes the certificate and tells where it is."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Issue the certificate."""
        from llmaas.erasure import CertificateError, issue  # noqa: PLC0415 - only there in the project's environment

        del tmp
        result: dict[str, Any] = super().run(None, task_vars or {})
        given = self._task.args
        if self._task.check_mode:
            return {**result, "changed": True, "certificate": ""}
        try:
            path = issue(
                str(given["environment"]),
                str(given["host"]),
                erasures=[dict(each) for each in given["erasures"]],
                node=str(given["node"]),
                by=str(given["by"]),
                records=Path(str(given["records"])),
                moment=datetime.now(UTC),
            )
        except (CertificateError, OSError, KeyError) as error:
            raise AnsibleActionFail(f"no certificate: {error}") from error
        return {**result, "changed": True, "certificate": str(path)}
