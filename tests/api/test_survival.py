"""Kills parts while calls go on. These run last of their folder and wait until what they killed is back."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from typing import Self

import kubernetes
import openai
import pytest
from api.environment import ENTRANCES, PLATFORM, MakeKey

Client = Callable[..., openai.OpenAI]
QUESTION = [{"role": "user", "content": "Bonjour"}]
PART_LABEL = "app.kubernetes.io/name"
MODEL_LABEL = "llmaas.io/model"
LOAD_BEFORE_SECONDS, LOAD_AFTER_SECONDS = 5, 30
# Answers are long and pauses short, so that a kill meets calls on their way.
ANSWER_TOKENS = 200
PAUSE_SECONDS = 0.05
BACK_WITHIN_SECONDS = 280


class SteadyLoad:
    """One call after another at each entrance, until told to stop; keeps what failed and the longest wait."""

    def __init__(self, clients: list[openai.OpenAI], model: str) -> None:
        self.failures: list[str] = []
        self.calls = 0
        self.slowest_seconds = 0.0
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(client, model)) for client in clients]

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

    def _ask(self, client: openai.OpenAI, model: str) -> None:
        for number in itertools.count():
            if self._stop.is_set():
                return
            began = time.monotonic()
            try:
                client.chat.completions.create(
                    model=model,
                    messages=QUESTION,
                    max_tokens=ANSWER_TOKENS,
                    extra_headers={"x-request-id": f"verify-{number}"},
                )
            except openai.OpenAIError as error:
                self.failures.append(f"{time.strftime('%H:%M:%S')} {type(error).__name__}: {error}")
            self.calls += 1
            self.slowest_seconds = max(self.slowest_seconds, time.monotonic() - began)
            self._stop.wait(PAUSE_SECONDS)


@pytest.fixture
def load(client_of: Client, make_key: MakeKey) -> Iterator[SteadyLoad]:
    model = next(model.name for model in PLATFORM.models if model.phase == "stable" and len(model.placement) > 1)
    clients = [client_of(make_key().key, entrance) for entrance in ENTRANCES]
    with SteadyLoad(clients, model) as running:
        time.sleep(LOAD_BEFORE_SECONDS)
        assert running.calls, "no call was made before the kill"
        assert running.failures == [], "calls failed before anything was killed"
        yield running


def _pods(cluster: kubernetes.client.CoreV1Api, namespace: str, selector: str) -> list[kubernetes.client.V1Pod]:
    return list(cluster.list_namespaced_pod(namespace, label_selector=selector).items)


def _ready(pods: list[kubernetes.client.V1Pod]) -> int:
    return sum(
        any(item.type == "Ready" and item.status == "True" for item in pod.status.conditions or ())
        and pod.metadata.deletion_timestamp is None
        for pod in pods
    )


def _kill_one_and_wait(
    cluster: kubernetes.client.CoreV1Api, namespace: str, selector: str, grace_seconds: int | None
) -> None:
    before = _pods(cluster, namespace, selector)
    replicas = _ready(before)
    assert replicas > 1, f"{replicas} replicas of {selector} are ready; a kill would show nothing"
    victim = before[0].metadata.name
    options = kubernetes.client.V1DeleteOptions(grace_period_seconds=grace_seconds)
    cluster.delete_namespaced_pod(victim, namespace, body=options)
    deadline = time.monotonic() + BACK_WITHIN_SECONDS
    time.sleep(LOAD_AFTER_SECONDS)
    while _ready(_pods(cluster, namespace, selector)) < replicas:
        assert time.monotonic() < deadline, f"{victim} was not replaced within {BACK_WITHIN_SECONDS} s"
        time.sleep(2)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("grace_seconds", [0, None], ids=["killed", "ended"])
def test_a_lost_model_replica_costs_no_call(
    cluster: kubernetes.client.CoreV1Api, load: SteadyLoad, grace_seconds: int | None
) -> None:
    model = next(model for model in PLATFORM.models if model.phase == "stable" and len(model.placement) > 1)
    selector = f"{PART_LABEL}=vllm,{MODEL_LABEL}={model.slug}"
    _kill_one_and_wait(cluster, "llmaas-serving", selector, grace_seconds)
    load.stop()
    print(f"{load.calls} calls, the slowest took {load.slowest_seconds:.1f} s")
    assert load.failures == [], f"{len(load.failures)} of {load.calls} calls failed"


@pytest.mark.timeout(400)
@pytest.mark.parametrize("grace_seconds", [0, None], ids=["killed", "ended"])
def test_a_lost_proxy_costs_no_call(
    cluster: kubernetes.client.CoreV1Api, load: SteadyLoad, grace_seconds: int | None
) -> None:
    _kill_one_and_wait(cluster, "llmaas-gateway", f"{PART_LABEL}=litellm", grace_seconds)
    load.stop()
    print(f"{load.calls} calls, the slowest took {load.slowest_seconds:.1f} s")
    assert load.failures == [], f"{len(load.failures)} of {load.calls} calls failed"
