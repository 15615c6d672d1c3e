"""Needs: redis-server, PostgreSQL 15's programs, Node.js; the first run installs the LiteLLM image's packages."""

import uuid
from collections.abc import Callable, Iterator

import pytest

from .stack import ANSWER_SECONDS, SILENCE_SECONDS, Proxy, Stack, running, running_stack


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    with running_stack() as stack:
        yield stack


@pytest.fixture(scope="session")
def proxies(stack: Stack) -> Iterator[list[Proxy]]:
    """Three replicas."""
    proxies = [Proxy(stack, f"proxy-{number}") for number in range(3)]
    with running(proxies):
        yield proxies


@pytest.fixture(scope="session")
def proxy(proxies: list[Proxy]) -> Proxy:
    """Any one of them."""
    return proxies[0]


@pytest.fixture(scope="session")
def impatient(stack: Stack) -> Iterator[Proxy]:
    """One that waits for seconds only."""
    proxy = Proxy(stack, "impatient", answer_seconds=ANSWER_SECONDS, silence_seconds=SILENCE_SECONDS)
    with running([proxy]):
        yield proxy


@pytest.fixture
def new_key(stack: Stack, proxy: Proxy) -> Callable[..., tuple[str, str]]:
    """Makes a tenant of a tier; its name and a key of it."""

    def make(tier: str, *, credit_nano_eur: int = 0, **metadata: object) -> tuple[str, str]:
        tenant = f"t-{uuid.uuid4().hex[:12]}"
        stack.tenant(tenant, tier, credit_nano_eur=credit_nano_eur)
        return tenant, stack.key(proxy, tenant, **metadata)

    return make
