"""A model server that is full begins with who pays by the month, though others have waited for longer."""

import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest
from api.environment import PLATFORM, SERVED, MakeKey

from llmaas.admin import AdminClient
from llmaas.admin.client import KeyLimits
from llmaas.views import vllm

Client = Callable[..., openai.OpenAI]
# One replica: all calls wait for the same places.
MODEL = next(model for model in PLATFORM.models if model.name in SERVED and sum(model.placement.values()) == 1)
TIER = next(tier for tier in PLATFORM.tiers if tier.billing == "prepaid")
BOUND = "--max-num-seqs="
# How many calls run at once, where the server is declared so small that a test can fill it.
PLACES = next(
    (
        int(word.removeprefix(BOUND))
        for word in vllm.arguments(PLATFORM, MODEL, next(iter(MODEL.placement)))
        if word.startswith(BOUND)
    ),
    None,
)
# All of a crowd together take long; those that wait come before calls of the same priority that were sent later.
CROWDS, CROWD_TOKENS = 2.75, 1_000
PROBES = 8
ARRIVAL_SECONDS = 2


@pytest.fixture
def prepaid(admin: AdminClient) -> Iterator[str]:
    """A key of a prepaid tenant; the tenant is erased at the end."""
    made = admin.create_tenant(f"priority-{secrets.token_hex(4)}", KeyLimits(), tier=TIER.name)
    yield admin.create_key(made, f"priority-{secrets.token_hex(4)}", KeyLimits(), "1h").key
    admin.with_gateway().erase(made.id, made.name)


def _ended(client: openai.OpenAI, tokens: int) -> float:
    """When an answer of just so many tokens had come."""
    client.chat.completions.create(
        model=MODEL.name,
        messages=[{"role": "user", "content": "Bonjour"}],
        max_tokens=tokens,
        extra_body={"min_tokens": tokens},
    )
    return time.monotonic()


@pytest.mark.skipif(PLACES is None, reason="its model servers hold more calls than a test can make")
def test_a_full_model_begins_with_calls_of_monthly_tenants(client_of: Client, make_key: MakeKey, prepaid: str) -> None:
    normal, high = client_of(prepaid), client_of(make_key().key)
    crowd = round(CROWDS * (PLACES or 0))
    with ThreadPoolExecutor(crowd + 2 * PROBES) as pool:
        filling = [pool.submit(_ended, normal, CROWD_TOKENS) for _ in range(crowd)]
        time.sleep(ARRIVAL_SECONDS)
        first = [pool.submit(_ended, normal, 1) for _ in range(PROBES)]
        second = [pool.submit(_ended, high, 1) for _ in range(PROBES)]
    # None of them failed, so the places were taken.
    assert len([call.result() for call in filling]) == crowd
    # A server with room, or one that goes by the time of arrival, ends the first before the second, or mixes them.
    assert max(call.result() for call in second) < min(call.result() for call in first)
