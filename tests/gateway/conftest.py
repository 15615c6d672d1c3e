"""Needs: redis-server (Debian's redis-server), started here on a free port with nothing on disk."""

from collections.abc import Iterator

import pytest
from data_servers import memory_redis
from hypothesis import settings

# no test is about time, and a busy machine is no failure
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def redis_port() -> Iterator[int]:
    with memory_redis() as client:
        yield int(client.connection_pool.connection_kwargs["port"])
