"""What a shell needs to use the lab by hand: addresses, keys, and where the programs lie."""

import os
import re
import shlex
from pathlib import Path

from lab.layout import ENVIRONMENT, Layout
from lab.spec import LabSpec, lab_spec
from lab.toolchain import plugin_path, tool_folders
from llmaas.paths import ENVIRONMENT_VARIABLE, PROJECT_ROOT
from llmaas.secrets import SecretStore
from llmaas.settings import load_platform
from llmaas.views.topology import ADMINISTRATION_PORT, service_addresses

# The lab's state never leaves this machine; see docs/decisions/0002-public-passphrase-in-the-lab.md.
PULUMI_PASSPHRASE = "llmaas-lab"  # noqa: S105 - public on purpose
DEMO_KEY = "demo-key"
# Ansible's; other values than those of ansible.cfg are for who measures.
PIPELINING = "ANSIBLE_PIPELINING"
STRATEGY = "ANSIBLE_STRATEGY"


def tool_environment(layout: Layout) -> dict[str, str]:
    """For Pulumi, Ansible and kubectl: what does not depend on a running lab."""
    folders = [PROJECT_ROOT / ".venv" / "bin", *tool_folders()]
    direct = _without_proxy(lab_spec())
    return {
        "PATH": ":".join([*map(str, folders), plugin_path()]),
        "KUBECONFIG": str(layout.state / "kubeconfig"),
        "PULUMI_BACKEND_URL": f"file://{layout.state / 'pulumi'}",
        "PULUMI_CONFIG_PASSPHRASE": PULUMI_PASSPHRASE,
        "PULUMI_HOME": str(layout.state / "pulumi-home"),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_AUTOMATION_API_SKIP_VERSION_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        ENVIRONMENT_VARIABLE: ENVIRONMENT,
        "ANSIBLE_CONFIG": str(PROJECT_ROOT / "ansible" / "ansible.cfg"),
        # a proxy of the machine's must not be asked for the lab's addresses
        "NO_PROXY": direct,
        "no_proxy": direct,
    }


def base_url() -> str:
    """Of the public API, at the first service host."""
    return f"https://{service_addresses(load_platform(ENVIRONMENT))[0]}/v1"


def administration_url() -> str:
    """Of LiteLLM's administration, on the private listener."""
    return f"https://{service_addresses(load_platform(ENVIRONMENT))[0]}:{ADMINISTRATION_PORT}"


def demo_key_file(layout: Layout) -> Path:
    """The key of the demonstration tenant, made once; readable by root only."""
    return layout.state / "secrets" / DEMO_KEY


def has_api(layout: Layout) -> bool:
    """Whether the lab was brought up as far as a tenant with a key."""
    return (layout.state / "pki" / "root.crt").exists() and demo_key_file(layout).exists()


def client_environment(layout: Layout) -> dict[str, str]:
    """For clients of the API and its administration; only where ``has_api``."""
    root = layout.state / "pki" / "root.crt"
    key = demo_key_file(layout)
    return {
        "OPENAI_BASE_URL": base_url(),
        "OPENAI_API_KEY": key.read_text(encoding="utf-8").strip(),
        "SSL_CERT_FILE": str(root),
        "LLMAAS_ADMIN_URL": administration_url(),
        "LLMAAS_ADMIN_KEY": SecretStore.open(ENVIRONMENT).text("litellm-master-key", prefix="sk-"),
    }


def _without_proxy(spec: LabSpec) -> str:
    """What is reached directly: what this shell says already, in its order, and the lab."""
    own = re.split(r"[,\s]+", f"{os.environ.get('NO_PROXY', '')},{os.environ.get('no_proxy', '')}")
    # one by one as well: clients on httpx, OpenAI's among them, do not understand a network
    lab = [str(spec.network), spec.site_address, *(host.address for host in spec.hosts), "127.0.0.1", "localhost"]
    entries = dict.fromkeys(entry for entry in [*own, *lab] if entry)
    # many programs take a star for everything only where it stands alone
    return "*" if "*" in entries else ",".join(entries)


def exports(variables: dict[str, str]) -> str:
    """Lines for `eval`."""
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in variables.items())
