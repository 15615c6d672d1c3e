"""What a shell is given to use the lab by hand is whole, and is read back as it was meant."""

import os
import shutil
import subprocess
import urllib.request
from pathlib import Path

import httpx
import openai
import pytest
from typer.testing import CliRunner

from lab.environment import client_environment, demo_key_file, exports, has_api, tool_environment
from lab.layout import ENVIRONMENT, Layout, layout
from lab.toolchain import build
from lab.toolchain.tools import MODULES
from llmaas.admin.connection import open_http
from llmaas.cli.lab import app
from llmaas.paths import PROJECT_ROOT
from llmaas.pki import open_authority
from llmaas.secrets import SecretStore
from llmaas.settings import load_platform
from llmaas.verify.connection import kubeconfig

TOOLS = {
    "PATH",
    "KUBECONFIG",
    "PULUMI_BACKEND_URL",
    "PULUMI_CONFIG_PASSPHRASE",
    "PULUMI_HOME",
    "LLMAAS_ENVIRONMENT",
    "ANSIBLE_CONFIG",
    "NO_PROXY",
    "no_proxy",
}
CLIENTS = {
    "OPENAI_BASE_URL",
    "OPENAI_API_KEY",
    "SSL_CERT_FILE",
    "LLMAAS_ADMIN_URL",
    "LLMAAS_ADMIN_KEY",
}
ADMINISTRATION_PORT = 8444
KEY = "sk-of-the-demonstration"
# Absolute: on the PATH that a shell is given it may be missing.
ENV = shutil.which("env") or "/usr/bin/env"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A lab of which nothing was brought up yet."""
    monkeypatch.setenv("LLMAAS_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("LLMAAS_CACHE", str(tmp_path / "cache"))
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    # the key of a build: this machine may have no compiler
    monkeypatch.setattr(build, "go_version", lambda: "go1.26")
    return layout()


@pytest.fixture
def served(here: Layout) -> Layout:
    """A lab with a tenant that has a key."""
    open_authority(ENVIRONMENT).ensure_leaf("edge", dns=["edge.lab.test"], usage="server")
    SecretStore.open(ENVIRONMENT)
    demo_key_file(here).write_text(f"{KEY}\n")
    return here


def program(folder: Path, name: str) -> Path:
    """Something that can be started."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def read_back(shell: str, text: str) -> dict[str, str]:
    """The variables of a shell that had none and evaluated the text."""
    done = subprocess.run(
        [shutil.which(shell) or shell, "-c", f'eval "$1"; exec {ENV} -0', shell, text],
        env={},
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    pairs = (line.partition("=") for line in done.stdout.split("\0") if line)
    return {name: value for name, _, value in pairs}


def printed() -> tuple[dict[str, str], str]:
    """What a shell has of `lab env`, and what its user reads."""
    result = CliRunner().invoke(app, ["env"])
    assert result.exit_code == 0, result.output
    return read_back("sh", result.stdout), result.stderr


def service_address() -> str:
    return str(load_platform(ENVIRONMENT).hosts_with_role("service")[0].address)


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_a_shell_reads_values_back_as_they_were(shell: str) -> None:
    values = {
        "PLAIN": "sk-abc",
        "EMPTY": "",
        "BLANKS": " a  b ",
        "QUOTES": 'it\'s "so"',
        "SIGNS": "$HOME `id` $(id) \\ ! * ; & | < > #",
        "LINES": "one\ntwo",
        "PATH": "/a b:/c",
    }
    found = read_back(shell, exports(values))
    assert {name: found.get(name) for name in values} == values


def test_tools_keep_to_the_lab_s_own_state(here: Layout) -> None:
    variables = tool_environment(here)
    assert variables.keys() >= TOOLS
    # where the roles leave it, and where the checks look
    assert Path(variables["KUBECONFIG"]) == kubeconfig(ENVIRONMENT) == here.state / "kubeconfig"
    assert variables["PULUMI_BACKEND_URL"] == f"file://{here.state}/pulumi"
    assert Path(variables["PULUMI_HOME"]).is_relative_to(here.state)
    assert variables["LLMAAS_ENVIRONMENT"] == ENVIRONMENT
    assert Path(variables["ANSIBLE_CONFIG"]).is_file()


def test_tools_are_found_built_standing_in_and_those_of_the_machine(
    here: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = tmp_path / "machine"
    kubectl = next(module for module in MODULES if "kubectl" in module.programs)
    wanted = {
        "kubectl": program(build.module_folder(kubectl) / "bin", "kubectl"),
        "pulumi-resource-kubernetes": PROJECT_ROOT / "lab/standins/bin/pulumi-resource-kubernetes",
        "pulumi-language-python": PROJECT_ROOT / "lab/standins/bin/pulumi-language-python",
        "of-this-machine": program(machine, "of-this-machine"),
    }
    monkeypatch.setenv("PATH", str(machine))
    path = tool_environment(here)["PATH"]
    assert {name: shutil.which(name, path=path) for name in wanted} == {k: str(v) for k, v in wanted.items()}
    assert str(PROJECT_ROOT / ".venv" / "bin") in path.split(os.pathsep)
    assert "" not in path.split(os.pathsep), "an empty entry is the folder that the user happens to be in"


def test_there_is_an_api_once_its_authority_and_a_key_are_there(here: Layout) -> None:
    assert not has_api(here)
    open_authority(ENVIRONMENT).ensure_leaf("edge", dns=["edge.lab.test"], usage="server")
    assert not has_api(here)
    SecretStore.open(ENVIRONMENT)
    demo_key_file(here).write_text(KEY)
    assert has_api(here)


def test_clients_are_given_addresses_keys_and_whom_to_trust(served: Layout) -> None:
    variables = client_environment(served)
    assert variables.keys() >= CLIENTS
    assert variables["OPENAI_BASE_URL"] == f"https://{service_address()}/v1"
    assert variables["OPENAI_API_KEY"] == KEY
    assert variables["LLMAAS_ADMIN_URL"] == f"https://{service_address()}:{ADMINISTRATION_PORT}"
    assert variables["LLMAAS_ADMIN_KEY"] == SecretStore.open(ENVIRONMENT).text("litellm-master-key")
    assert "BEGIN CERTIFICATE" in Path(variables["SSL_CERT_FILE"]).read_text()


def directly(url: str) -> bool:
    """Whether clients on httpx, as OpenAI's is one, and Python's own connect to it themselves."""
    with httpx.Client() as client:
        own = client._transport_for_url(httpx.URL(url)) is client._transport  # noqa: SLF001 - a call needs a server
    return own and bool(urllib.request.proxy_bypass(httpx.URL(url).host))


def test_a_proxy_of_the_machine_is_asked_for_nothing_of_the_lab(here: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    platform = load_platform(ENVIRONMENT)
    addresses = [platform.site.address, *(host.address for host in platform.hosts), "127.0.0.1", "localhost"]
    variables = tool_environment(here)
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://192.0.2.1:3128")
    assert [address for address in addresses if directly(f"https://{address}:6443")] == []
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, variables[name])
    assert [address for address in addresses if not directly(f"https://{address}:6443")] == []
    assert not directly("https://api.example")


def test_clients_need_nothing_else(served: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in client_environment(served).items():
        monkeypatch.setenv(name, value)
    with openai.OpenAI() as client:
        assert (client.base_url.host, client.api_key) == (service_address(), KEY)
    with open_http(None) as client:
        assert (client.base_url.host, client.base_url.port) == (service_address(), ADMINISTRATION_PORT)


def test_before_there_is_an_api_a_shell_is_given_the_tools_alone(here: Layout) -> None:
    variables, said = printed()
    assert variables.items() >= tool_environment(here).items()
    assert not CLIENTS & variables.keys()
    assert "make up" in said


def test_with_an_api_a_shell_is_given_all_of_it(served: Layout) -> None:
    variables, said = printed()
    assert variables.items() >= {**tool_environment(served), **client_environment(served)}.items()
    assert variables.keys() >= TOOLS | CLIENTS
    assert said == ""
