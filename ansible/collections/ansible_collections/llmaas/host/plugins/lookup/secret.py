"""Looks up a secret of the environment on the machine that administers it."""

from __future__ import annotations

import base64
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase

DOCUMENTATION = r"""
name: secret
short_description: A secret of the environment
description:
  - Reads the secret from the environment's store; it is made at random when it is not there.
options:
  _terms:
    description: Names of secrets.
    required: true
  environment:
    description: The environment.
    type: str
    required: true
  encoding:
    description: C(text) as stored, C(base64) of its 32 random bytes, or a key file of chrony with them as C(chrony).
    type: str
    choices: [text, base64, chrony]
    default: text
author: The authors of llmaas
"""

EXAMPLES = r"""
- name: Show how a key is read
  ansible.builtin.set_fact:
    key: "{{ lookup('llmaas.host.secret', 'kubernetes-secrets-key', environment='lab', encoding='base64') }}"
"""

RETURN = r"""
_raw:
  description: The secrets.
  type: list
  elements: str
"""


class LookupModule(LookupBase):
    """The lookup ``llmaas.host.secret``."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[str]:
        """The secrets of those names."""
        from llmaas.secrets import SecretError, SecretStore  # noqa: PLC0415 - only there in the project's environment
        from llmaas.views.time_keys import key_file  # noqa: PLC0415 - as above

        self.set_options(var_options=variables, direct=kwargs)
        encoding = self.get_option("encoding")
        names = [str(term) for term in terms]
        try:
            store = SecretStore.open(str(self.get_option("environment")))
            if encoding == "text":
                return [store.text(name) for name in names]
            keys = [store.key(name) for name in names]
        except (SecretError, OSError) as error:
            raise AnsibleLookupError(str(error)) from error
        return [key_file(key) if encoding == "chrony" else base64.b64encode(key).decode("ascii") for key in keys]
