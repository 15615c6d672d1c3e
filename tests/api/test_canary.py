"""A marker goes through every endpoint and kind of failure; then no store, log or host may hold it.

What a client cannot bring about from outside is tried in the gateway's own tests: its time limit on a silent model
server, and another model that takes over, which no stack file can declare.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import kubernetes
import pytest
from api.environment import BACK_WITHIN_SECONDS, ENTRANCES, PLATFORM, MakeKey

from llmaas.secrets import SecretStore
from llmaas.settings import Host, Model
from llmaas.verify.canary.calls import CHAT, CanaryCall, Outcome, calls, send
from llmaas.verify.canary.marker import Canary
from llmaas.verify.canary.stores import Stores
from llmaas.verify.connection import kubeconfig, write_ssh_configuration

pytestmark = pytest.mark.timeout(1500)

# Spend and records are written some seconds after a call.
SETTLE_SECONDS = 30
# Clocks of hosts may differ by so much.
CLOCK_SECONDS = 60
LOG_SECONDS = 5
ANSWER_SECONDS = 120.0
SELECTOR = "app.kubernetes.io/name=vllm,llmaas.io/model="
CUT = frozenset({200, 500, 502, 503, 504})

MODEL: Model = next(model for model in PLATFORM.models if model.phase == "stable" and len(model.placement) > 1)


@dataclass(frozen=True)
class Sent:
    """What was sent, and where it can be searched for."""

    key: str = field(repr=False)
    outcomes: list[Outcome]
    since: float
    stores: Stores


def _ready(cluster: kubernetes.client.CoreV1Api) -> list[str]:
    pods = cluster.list_namespaced_pod("llmaas-serving", label_selector=f"{SELECTOR}{MODEL.slug}").items
    return [
        pod.metadata.name
        for pod in pods
        if pod.metadata.deletion_timestamp is None
        and any(item.type == "Ready" and item.status == "True" for item in pod.status.conditions or ())
    ]


def _die_in_the_stream(
    cluster: kubernetes.client.CoreV1Api, http: httpx.Client, canary: Canary, key: str
) -> list[Outcome]:
    """Calls during which the model servers that may answer them are killed one after the other."""
    outcomes = []
    for victim in _ready(cluster):
        body = {"model": MODEL.name, "messages": [{"role": "user", "content": canary.text}], "max_tokens": 400}
        call = CanaryCall("model server killed in the stream", CHAT, {**body, "stream": True}, CUT, "stream")

        def kill(name: str = victim) -> None:
            options = kubernetes.client.V1DeleteOptions(grace_period_seconds=0)
            cluster.delete_namespaced_pod(name, "llmaas-serving", body=options)

        before = len(_ready(cluster))
        outcomes.append(send(http, call, key, kill))
        deadline = time.monotonic() + BACK_WITHIN_SECONDS
        while len(_ready(cluster)) < before:
            assert time.monotonic() < deadline, f"{victim} was not replaced within {BACK_WITHIN_SECONDS} s"
            time.sleep(2)
    return outcomes


def _over_the_limit(http: httpx.Client, canary: Canary, make_key: MakeKey) -> Outcome:
    """The last of some calls with a key that allows one a minute; a minute may turn over in between."""
    limited = make_key(requests_per_minute=1).key
    body = {"model": MODEL.name, "messages": [{"role": "user", "content": canary.text}], "max_tokens": 2}
    call = CanaryCall("over the limit", CHAT, body, frozenset({429}))
    outcome = send(http, call, limited)
    for _ in range(4):
        if outcome.as_expected:
            break
        outcome = send(http, call, limited)
    return outcome


@pytest.fixture(scope="module")
def sent(cluster: kubernetes.client.CoreV1Api, trust: object, key: str, make_key: MakeKey) -> Sent:
    canary, since = Canary(), time.time() - CLOCK_SECONDS
    outcomes = []
    for entrance in ENTRANCES:
        with httpx.Client(
            verify=trust, trust_env=False, timeout=ANSWER_SECONDS, base_url=f"https://{entrance}"
        ) as http:
            outcomes += [send(http, call, key) for call in calls(canary, MODEL.name, MODEL.context_tokens)]
            outcomes.append(_over_the_limit(http, canary, make_key))
            if entrance == ENTRANCES[0]:
                outcomes += _die_in_the_stream(cluster, http, canary, key)
    time.sleep(SETTLE_SECONDS)
    patterns = canary.patterns(outcome.answer for outcome in outcomes)
    stores = Stores(kubeconfig(PLATFORM.environment), cluster, canary, patterns)
    return Sent(key, outcomes, since, stores)


@pytest.fixture(scope="module")
def ssh_configuration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # A socket of SSH must have a short path.
    return write_ssh_configuration(PLATFORM, tmp_path_factory.mktemp("canary"))


def test_canary_calls_end_as_their_kind_must(sent: Sent) -> None:
    assert [f"{o.call.kind}: {o.status}" for o in sent.outcomes if not o.as_expected] == []


def test_canary_is_kept_by_no_database(sent: Sent) -> None:
    assert list(map(str, sent.stores.postgres(sent.key))) == []


def test_canary_is_kept_by_no_redis(sent: Sent) -> None:
    password = SecretStore.open(PLATFORM.environment).text("redis")
    assert list(map(str, sent.stores.redis(password))) == []


def test_canary_is_in_no_log_of_a_pod(sent: Sent) -> None:
    assert list(map(str, sent.stores.logs())) == []


def test_canary_is_in_no_object_of_the_cluster(sent: Sent) -> None:
    assert list(map(str, sent.stores.objects())) == []


@pytest.mark.parametrize("declared", PLATFORM.hosts, ids=lambda host: host.name)
def test_canary_is_in_no_file_and_no_journal_of_a_host(sent: Sent, declared: Host, ssh_configuration: Path) -> None:
    assert list(map(str, sent.stores.host(declared.name, ssh_configuration, sent.since))) == []


@pytest.fixture(scope="module")
def planted(sent: Sent, ssh_configuration: Path) -> None:
    """The control stands in every journal, and had a moment to leave."""
    with ThreadPoolExecutor(4) as pool:
        now = time.time()
        list(pool.map(lambda host: sent.stores.host(host.name, ssh_configuration, now), PLATFORM.hosts))
    time.sleep(LOG_SECONDS)


@pytest.mark.parametrize("keeper", PLATFORM.hosts_with_role("log"), ids=lambda host: host.name)
@pytest.mark.usefixtures("planted")
def test_canary_is_in_no_log_that_a_log_host_keeps(sent: Sent, keeper: Host, ssh_configuration: Path) -> None:
    senders = [host.name for host in PLATFORM.hosts if host != keeper]
    assert list(map(str, sent.stores.log_host(keeper.name, senders, ssh_configuration, sent.since))) == []
