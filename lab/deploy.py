"""The phases after the hosts: Ansible, Pulumi, a tenant with a key, and a first answer."""

import json
import os
import shlex
import ssl
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx

from lab.command import run
from lab.environment import base_url, demo_key_file, tool_environment
from lab.errors import LabError
from lab.interrupted import remove_interrupted
from lab.layout import ENVIRONMENT, Layout
from llmaas.admin.connection import open_http
from llmaas.files import write_atomically
from llmaas.paths import PROJECT_ROOT
from llmaas.settings import load_platform

DEMO_TENANT = "demo"
_ANSWER_SECONDS = 180


def _environment(layout: Layout) -> dict[str, str]:
    return {**os.environ, **tool_environment(layout)}


def converge_hosts(layout: Layout, log: Path, variables: Mapping[str, str] | None = None) -> tuple[int, int]:
    """Everything on the hosts, by Ansible; the number of hosts and of changes.

    Args:
        layout: of the lab.
        log: where Ansible's words go.
        variables: of Ansible's environment, such as ``ANSIBLE_PIPELINING``.
    """
    printed = run(
        ["ansible-playbook", "playbooks/site.yml"],
        cwd=PROJECT_ROOT / "ansible",
        environment={**_environment(layout), **(variables or {})},
        log=log,
        remedy="read the log; to run it by hand: cd ansible && ansible-playbook playbooks/site.yml",
    )
    recap = [line for line in printed.splitlines() if " ok=" in line and " failed=" in line]
    return len(recap), sum(int(line.split("changed=")[1].split()[0]) for line in recap)


def deploy_cluster(layout: Layout, log: Path) -> str:
    """Everything in the cluster, by Pulumi."""
    environment = _environment(layout)
    for folder in ("pulumi", "pulumi-home"):
        (layout.state / folder).mkdir(mode=0o700, exist_ok=True)
    pulumi = ["pulumi", "--non-interactive", "--color", "never"]
    stacks = json.loads(run([*pulumi, "stack", "ls", "--json"], cwd=PROJECT_ROOT, environment=environment, log=log))
    if ENVIRONMENT not in {stack["name"].rsplit("/", 1)[-1] for stack in stacks}:
        run([*pulumi, "stack", "init", ENVIRONMENT, "--secrets-provider", "passphrase"],
            cwd=PROJECT_ROOT, environment=environment, log=log)  # fmt: skip
    # an interrupted update leaves its lock and its notes behind; ours is the only one that may run here
    run([*pulumi, "cancel", "--yes", "--stack", ENVIRONMENT], cwd=PROJECT_ROOT, environment=environment, log=log)
    remove_interrupted(pulumi, ENVIRONMENT, folder=PROJECT_ROOT, environment=environment, log=log)
    printed = run(
        [*pulumi, "up", "--stack", ENVIRONMENT, "--yes", "--skip-preview", "--policy-pack", "policies"],
        cwd=PROJECT_ROOT,
        environment=environment,
        log=log,
        remedy='read the log; to run it by hand: eval "$(bin/llmaas lab env)"; pulumi up -s lab',
    )
    resources = printed.partition("Resources:")[2].strip().splitlines()
    counts = [line.strip() for line in resources if line.strip() and "Duration" not in line]
    result = ", ".join(counts) or "no resources"
    if any("unchanged" not in count for count in counts):
        _await_administration()
        _record_deployment(result, log)
    return result


def _await_administration() -> None:
    """Until the private entrance passes calls on: its own checks learn seconds after Kubernetes that a server is ready.

    Raises:
        LabError: it does not; the last answer is in the text.
    """
    with open_http(ENVIRONMENT) as administration:
        _awaited(str(administration.base_url), lambda: administration.get("/health/liveliness"))


def _awaited(url: str, ask: Callable[[], httpx.Response]) -> httpx.Response:
    """The answer 200 of who is asked until it comes or time is up.

    Raises:
        LabError: no such answer; the last one is in the text.
    """
    deadline = time.monotonic() + _ANSWER_SECONDS
    while True:
        try:
            answer = ask()
            last = f"{answer.status_code}: {answer.text[:300]}"
        except httpx.HTTPError as error:
            last = f"{type(error).__name__}: {error}"
        else:
            if answer.status_code == httpx.codes.OK:
                return answer
        if time.monotonic() > deadline:
            raise LabError(
                f"no answer from {url} within {_ANSWER_SECONDS} s; the last was {last}",
                remedy='look at the pods: eval "$(bin/llmaas lab env)"; kubectl get pods -A',
            )
        time.sleep(1)


def _record_deployment(result: str, log: Path) -> None:
    """The audit's entry for an update that changed something."""
    record = ["audit", "record", "deployment.update", ENVIRONMENT, "--detail", f"result={result}", "-e", ENVIRONMENT]
    run(
        [PROJECT_ROOT / "bin" / "llmaas", *record],
        log=log,
        remedy=f"the update is done but not in the audit: bin/llmaas {shlex.join(record)}",
    )


def demo_key(layout: Layout, log: Path) -> str:
    """A tenant and a key to try the API with, made once; a key that no longer works is made again."""
    path = demo_key_file(layout)
    if path.exists() and _status(layout, path.read_text(encoding="utf-8").strip()) == 200:
        return f"tenant {DEMO_TENANT} has its key"
    cli = [PROJECT_ROOT / "bin" / "llmaas"]
    tenants = json.loads(run([*cli, "tenant", "list", "-e", ENVIRONMENT, "--json"], log=None))
    if DEMO_TENANT not in {tenant["name"] for tenant in tenants}:
        tier = load_platform(ENVIRONMENT).tiers[0].name
        run([*cli, "tenant", "create", DEMO_TENANT, "--tier", tier, "-e", ENVIRONMENT], log=log)
    made = json.loads(run([*cli, "key", "create", "--tenant", DEMO_TENANT, "-e", ENVIRONMENT, "--json"], log=None))
    write_atomically(path, f"{made['key']}\n", mode=0o600)
    return f"tenant {DEMO_TENANT}, a new key"


def _client(layout: Layout, key: str) -> httpx.Client:
    """A client of the public API with a tenant's key; the edge's certificate is checked."""
    context = ssl.create_default_context(cafile=str(layout.state / "pki" / "root.crt"))
    return httpx.Client(
        verify=context, headers={"Authorization": f"Bearer {key}"}, base_url=base_url(), timeout=60, trust_env=False
    )


def _status(layout: Layout, key: str) -> int:
    try:
        with _client(layout, key) as api:
            return api.get("/models").status_code
    except httpx.HTTPError:
        return 0


def first_answer(layout: Layout, model: str) -> str:
    """Ask the API one question, through the edge, with the tenant's key, until it answers or time is up.

    Raises:
        LabError: no answer; the last one is in the text.
    """
    key = demo_key_file(layout).read_text(encoding="utf-8").strip()
    question = {"model": model, "messages": [{"role": "user", "content": "Bonjour"}], "max_tokens": 16}

    def ask() -> httpx.Response:
        # a connection of its own: one that was refused is not kept
        with _client(layout, key) as api:
            return api.post("/chat/completions", json=question)

    answer = _awaited(base_url(), ask)
    tokens = answer.json()["usage"]["total_tokens"]
    return f"{model} answered: {tokens} tokens in {answer.elapsed.total_seconds():.1f} s"
