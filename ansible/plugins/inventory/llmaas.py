"""Ansible inventory from the stack file: what ``llmaas.views.inventory`` says, as groups, hosts and variables."""

from __future__ import annotations

import os
from typing import Any

from ansible.errors import AnsibleParserError

from ansible.plugins.inventory import BaseInventoryPlugin

DOCUMENTATION = r"""
name: llmaas
short_description: Hosts of an environment, from its stack file
description:
  - Gives the groups control, service, gpu, log, nodes (all hosts), weights (hosts that carry a model), encrypted,
    key_servers and machines (nodes and key servers), and every role's variables.
options:
  plugin:
    description: Must be C(llmaas).
    required: true
    choices: [llmaas]
  environment:
    description: The environment whose stack file is read.
    type: str
    default: lab
    env:
      - name: LLMAAS_ENVIRONMENT
author: The authors of llmaas
"""


class InventoryModule(BaseInventoryPlugin):
    """The inventory plugin ``llmaas``; its sources are files whose name ends with ``.llmaas.yaml``."""

    NAME = "llmaas"

    def verify_file(self, path: str) -> bool:
        """Whether the file is a source of ours."""
        return bool(super().verify_file(path)) and path.endswith("llmaas.yaml")

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:  # noqa: FBT001, FBT002
        """Read the stack file and fill the inventory."""
        super().parse(inventory, loader, path, cache)
        self._read_config_data(path)
        environment = os.environ.get("LLMAAS_ENVIRONMENT") or str(self.get_option("environment"))
        try:
            from llmaas.settings import SettingsError, load_platform  # noqa: PLC0415
            from llmaas.views.inventory import inventory as inventory_view  # noqa: PLC0415
        except ImportError as error:
            raise AnsibleParserError(
                f"{error}: run ansible-playbook from the project's environment (bin/bootstrap makes it)"
            ) from error
        try:
            view = inventory_view(load_platform(environment))
        except SettingsError as error:
            raise AnsibleParserError(str(error)) from error
        for group, names in view["groups"].items():
            inventory.add_group(group)
            for name in names:
                inventory.add_host(name, group=group)
        for key, value in view["all"].items():
            inventory.set_variable("all", key, value)
        for name, variables in view["hosts"].items():
            for key, value in variables.items():
                inventory.set_variable(name, key, value)
