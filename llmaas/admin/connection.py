"""How the administration API is reached: by the environment's state on its own machine, or by environment variables."""

import getpass
import os
import re
import ssl
from pathlib import Path
from typing import Final

import httpx

from llmaas.admin.calls import AdminError
from llmaas.admin.client import AdminClient
from llmaas.paths import ENVIRONMENT_VARIABLE, state_dir
from llmaas.secrets import SecretStore
from llmaas.settings import load_platform
from llmaas.views.topology import ADMINISTRATION_PORT, service_addresses

URL: Final = "LLMAAS_ADMIN_URL"
KEY: Final = "LLMAAS_ADMIN_KEY"
CA: Final = "SSL_CERT_FILE"
OPERATOR: Final = "LLMAAS_OPERATOR"
TIMEOUT_SECONDS: Final = 30.0
MASTER_KEY: Final = "litellm-master-key"


def connect(environment: str | None) -> AdminClient:
    """The administration API of an environment whose state lies on this machine, or the one that variables name.

    Raises:
        AdminError: what is missing, by name.
    """
    return AdminClient(open_http(environment))


def open_http(environment: str | None) -> httpx.Client:
    """The same as a client of HTTP, which carries the administration key.

    Without an environment the variables of the address and its key count, and without those the environment's variable.

    Raises:
        AdminError: what is missing, by name.
    """
    if environment is None and not (os.environ.get(URL) or os.environ.get(KEY)):
        environment = os.environ.get(ENVIRONMENT_VARIABLE) or None
    if environment is None:
        missing = [name for name in (URL, KEY) if not os.environ.get(name)]
        if missing:
            raise AdminError(
                f"{' and '.join(missing)} not set; name an environment with -e or {ENVIRONMENT_VARIABLE}, "
                'or for the lab: eval "$(bin/llmaas lab env)"'
            )
        return _http(os.environ[URL], os.environ[KEY], os.environ.get(CA))
    root = state_dir(environment) / "pki" / "root.crt"
    if not root.exists():
        raise AdminError(f"environment {environment!r} has no certificates on this machine ({root}); bring it up first")
    address = service_addresses(load_platform(environment))[0]
    key = SecretStore.open(environment).text(MASTER_KEY, prefix="sk-")
    return _http(f"https://{address}:{ADMINISTRATION_PORT}", key, str(root))


def _operator() -> str:
    """Who the audit names: a claim of this machine's, as all hold the same key."""
    name = os.environ.get(OPERATOR) or os.environ.get("SUDO_USER") or getpass.getuser()
    return re.sub(r"[^A-Za-z0-9._@-]", "-", name).strip("-._@")[:64] or "unknown"


def _http(url: str, key: str, ca_file: str | None) -> httpx.Client:
    if not url.startswith("https://"):
        raise AdminError(f"{URL} is {url!r}; keys travel only over https://")
    if ca_file is not None and not Path(ca_file).is_file():
        raise AdminError(f"{CA} names {ca_file}, which is no file")
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    headers = {"Authorization": f"Bearer {key}", "X-Llmaas-Operator": _operator()}
    # The gateway is inside: a proxy of the machine's must never see these calls.
    return httpx.Client(base_url=url, headers=headers, verify=context, timeout=TIMEOUT_SECONDS, trust_env=False)
