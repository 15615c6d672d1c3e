"""Kills parts while calls go on. These run last of their folder and wait until what they killed is back."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Self

import kubernetes
import openai
import pytest
from api.environment import BACK_WITHIN_SECONDS, ENTRANCES, PLATFORM, MakeKey
from host.probing import Machine, reach

Client = Callable[..., openai.OpenAI]
QUESTION = [{"role": "user", "content": "Bonjour"}]
PART_LABEL = "app.kubernetes.io/name"
MODEL_LABEL = "llmaas.io/model"
LOAD_BEFORE_SECONDS, LOAD_AFTER_SECONDS = 5, 30
FIRST_CALLS_WITHIN_SECONDS = 120
# Answers are long and pauses short, so that a kill meets calls on their way.
ANSWER_TOKENS = 200
PAUSE_SECONDS = 0.05
# All that runs in a pod but what holds its network; its control groups carry its number, in one spelling or the other.
KILL_SCRIPT = """
import os, pathlib, signal, sys
numbers, killed = {sys.argv[1], sys.argv[1].replace("-", "_")}, []
for process in pathlib.Path("/proc").glob("[0-9]*"):
    try:
        groups, name = (process / "cgroup").read_text(), (process / "comm").read_text().strip()
        if name != "pause" and not name.startswith("containerd") and any(number in groups for number in numbers):
            os.kill(int(process.name), signal.SIGKILL)
            killed.append(name)
    except (FileNotFoundError, ProcessLookupError):
        pass
print(len(killed))
"""


class SteadyLoad:
    """One call after another at each entrance, until told to stop; keeps what failed and the longest wait."""

    def __init__(self, clients: list[openai.OpenAI], model: str) -> None:
        self.failures: list[str] = []
        self.calls = [0] * len(clients)
        self.slowest_seconds = 0.0
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask, args=(place, client, model)) for place, client in enumerate(clients)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Make no more calls and wait for those under way."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, place: int, client: openai.OpenAI, model: str) -> None:
        for number in itertools.count():
            if self._stop.is_set():
                return
            began = time.monotonic()
            try:
                answer = client.chat.completions.create(
                    model=model,
                    messages=QUESTION,
                    max_tokens=ANSWER_TOKENS,
                    extra_headers={"x-request-id": f"verify-{number}"},
                )
                assert answer.choices[0].finish_reason in {"length", "stop"}, answer
            # whatever it is: a thread that ended would be load that nobody made
            except Exception as error:  # noqa: BLE001
                self.failures.append(f"{time.strftime('%H:%M:%S')} {type(error).__name__}: {error}")
            self.calls[place] += 1
            self.slowest_seconds = max(self.slowest_seconds, time.monotonic() - began)
            self._stop.wait(PAUSE_SECONDS)


@pytest.fixture
def load(client_of: Client, make_key: MakeKey) -> Iterator[SteadyLoad]:
    model = next(model.name for model in PLATFORM.models if model.phase == "stable" and len(model.placement) > 1)
    clients = [client_of(make_key().key, entrance) for entrance in ENTRANCES]
    with SteadyLoad(clients, model) as running:
        time.sleep(LOAD_BEFORE_SECONDS)
        deadline = time.monotonic() + FIRST_CALLS_WITHIN_SECONDS
        while not all(running.calls):
            assert time.monotonic() < deadline, "no call was made before the kill"
            time.sleep(1)
        assert running.failures == [], "calls failed before anything was killed"
        yield running


def _ready(pods: list[kubernetes.client.V1Pod]) -> int:
    return sum(
        any(item.type == "Ready" and item.status == "True" for item in pod.status.conditions or ())
        and pod.metadata.deletion_timestamp is None
        for pod in pods
    )


def _restarts(pods: list[kubernetes.client.V1Pod], name: str) -> int:
    return sum(
        status.restart_count
        for pod in pods
        if pod.metadata.name == name
        for status in pod.status.container_statuses or ()
    )


@pytest.fixture(scope="session")
def machines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Machine]:
    return reach(PLATFORM, tmp_path_factory.mktemp("ssh"))


def _kill(machine: Machine, pod: kubernetes.client.V1Pod) -> None:
    """End what runs in the pod as a lack of memory would: at once, and nobody is told."""
    killed = machine.json("/usr/bin/python3", "-c", KILL_SCRIPT, pod.metadata.uid)
    assert killed, f"nothing of {pod.metadata.name} runs on {pod.spec.node_name}"


@dataclass(frozen=True)
class Part:
    """What is lost of a part: all of its replicas carry the labels."""

    cluster: kubernetes.client.CoreV1Api
    machines: dict[str, Machine]
    namespace: str
    labels: str

    def lose_one(self, how: str) -> None:
        """Lose one of the replicas that are ready and wait until there are as many again."""
        before = self._pods()
        replicas = _ready(before)
        assert replicas > 1, f"{replicas} replicas of {self.labels} are ready; a kill would show nothing"
        victim, name = before[0], before[0].metadata.name
        if how == "killed":
            _kill(self.machines[victim.spec.node_name], victim)
        else:
            self.cluster.delete_namespaced_pod(name, self.namespace)
        deadline = time.monotonic() + BACK_WITHIN_SECONDS
        time.sleep(LOAD_AFTER_SECONDS)
        while _ready(found := self._pods()) < replicas:
            assert time.monotonic() < deadline, f"{name} was not replaced within {BACK_WITHIN_SECONDS} s"
            time.sleep(2)
        if how == "killed":
            assert _restarts(found, name) > _restarts(before, name), f"{name} was killed and nothing started it again"

    def _pods(self) -> list[kubernetes.client.V1Pod]:
        return list(self.cluster.list_namespaced_pod(self.namespace, label_selector=self.labels).items)


def _costs_no_call(load: SteadyLoad, before: list[int]) -> None:
    load.stop()
    print(f"{load.calls} calls, the slowest took {load.slowest_seconds:.1f} s")
    assert load.failures == [], f"{len(load.failures)} of {sum(load.calls)} calls failed"
    assert all(after > earlier for earlier, after in zip(before, load.calls, strict=True)), "no call after the kill"


each_way = pytest.mark.parametrize("how", ["killed", "ended"])


@pytest.mark.timeout(1000)
@each_way
def test_a_lost_model_replica_costs_no_call(
    cluster: kubernetes.client.CoreV1Api, machines: dict[str, Machine], load: SteadyLoad, how: str
) -> None:
    model = next(model for model in PLATFORM.models if model.phase == "stable" and len(model.placement) > 1)
    before = list(load.calls)
    labels = f"{PART_LABEL}=vllm,{MODEL_LABEL}={model.slug}"
    Part(cluster, machines, "llmaas-serving", labels).lose_one(how)
    _costs_no_call(load, before)


@pytest.mark.timeout(1000)
@each_way
def test_a_lost_proxy_costs_no_call(
    cluster: kubernetes.client.CoreV1Api, machines: dict[str, Machine], load: SteadyLoad, how: str
) -> None:
    before = list(load.calls)
    Part(cluster, machines, "llmaas-gateway", f"{PART_LABEL}=litellm").lose_one(how)
    _costs_no_call(load, before)
