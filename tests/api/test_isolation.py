"""Tenants share model servers, and nothing that one of them could learn another's prompts from."""

import secrets
from collections.abc import Callable, Iterator

import openai
import pytest
from api.environment import PLATFORM, SERVED, MakeKey

from llmaas.admin import AdminClient
from llmaas.admin.client import KeyLimits

Client = Callable[..., openai.OpenAI]
# Each replica has a cache of its own, so the fewer there are, the sooner calls meet the same one.
MODEL, REPLICAS = min(
    ((model.name, sum(model.placement.values())) for model in PLATFORM.models if model.name in SERVED),
    key=lambda served: served[1],
)
TIER = next(tier for tier in PLATFORM.tiers if tier.billing == "prepaid")
PROMPT_CHARACTERS = 600


@pytest.fixture
def neighbour(admin: AdminClient) -> Iterator[str]:
    """A key of another tenant; the tenant is erased at the end."""
    made = admin.create_tenant(f"neighbour-{secrets.token_hex(4)}", KeyLimits(), tier=TIER.name)
    yield admin.create_key(made, f"neighbour-{secrets.token_hex(4)}", KeyLimits(), "1h").key
    admin.with_gateway().erase(made.id, made.name)


def _cached(client: openai.OpenAI, prompt: str) -> int:
    """How many tokens of a prompt the model server, by its own count, had kept from before."""
    answer = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": prompt}], max_tokens=1)
    assert answer.usage is not None
    details = answer.usage.prompt_tokens_details
    return (details.cached_tokens if details else None) or 0


def _finds_it_again(client: openai.OpenAI, prompt: str) -> bool:
    """Whether a prompt that was sent before is found in a cache; with the first, a replica was met twice."""
    return any(_cached(client, prompt) > 0 for _ in range(REPLICAS))


def test_a_tenant_meets_its_own_prefixes_in_the_cache_and_no_other_tenant_does(
    client_of: Client, make_key: MakeKey, neighbour: str
) -> None:
    prompt = secrets.token_hex(PROMPT_CHARACTERS // 2)
    own, other = client_of(make_key().key), client_of(neighbour)
    assert _cached(own, prompt) == 0
    assert _finds_it_again(own, prompt)
    # the first time is nobody's gain; the second shows that the prompt could have been found
    assert _cached(other, prompt) == 0
    assert _finds_it_again(other, prompt)


def test_another_key_of_the_tenant_meets_its_prefixes(client_of: Client, make_key: MakeKey) -> None:
    prompt = secrets.token_hex(PROMPT_CHARACTERS // 2)
    assert _cached(client_of(make_key().key), prompt) == 0
    assert _finds_it_again(client_of(make_key().key), prompt)
