"""Needs: redis-server, PostgreSQL 15's programs, Node.js; the first run installs the LiteLLM image's packages."""

import signal
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .stack import Proxy, Stack


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    folder = Path(f"/tmp/llmaas-test-gateway-{uuid.uuid4().hex}")  # noqa: S108 - PostgreSQL's account must reach it
    folder.mkdir(mode=0o755)
    stack = Stack(folder)
    stack.start()
    yield stack
    stack.stop()


@pytest.fixture(scope="session")
def proxies(stack: Stack) -> Iterator[list[Proxy]]:
    """Three replicas."""
    proxies = [Proxy(stack, f"proxy-{number}") for number in range(3)]
    try:
        for proxy in proxies:
            proxy.start()
        for proxy in proxies:
            proxy.wait()
        yield proxies
    finally:
        # Also those that were not ready in time.
        for proxy in proxies:
            proxy.end(signal.SIGTERM)


@pytest.fixture(scope="session")
def proxy(proxies: list[Proxy]) -> Proxy:
    """Any one of them."""
    return proxies[0]


@pytest.fixture
def new_key(stack: Stack, proxy: Proxy) -> Callable[..., tuple[str, str]]:
    """Makes a tenant of a tier; its name and a key of it."""

    def make(tier: str, *, credit_nano_eur: int = 0, **metadata: object) -> tuple[str, str]:
        tenant = f"t-{uuid.uuid4().hex[:12]}"
        stack.tenant(tenant, tier, credit_nano_eur=credit_nano_eur)
        return tenant, stack.key(proxy, tenant, **metadata)

    return make
