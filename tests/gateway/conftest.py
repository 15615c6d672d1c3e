"""Needs: redis-server (Debian's redis-server), started here on a free port with nothing on disk."""

import shutil
import subprocess
import time
from collections.abc import Iterator

import pytest
import redis
from ports import free_port


@pytest.fixture(scope="session")
def redis_port() -> Iterator[int]:
    program = shutil.which("redis-server")
    if program is None:
        pytest.fail("redis-server is not installed; apt-get install redis-server")
    port = free_port()
    server = subprocess.Popen(
        [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
        stdout=subprocess.DEVNULL,
    )
    client = redis.Redis(port=port)
    for _ in range(100):
        try:
            client.ping()
            break
        except redis.ConnectionError:
            time.sleep(0.05)
    else:
        pytest.fail(f"redis-server did not answer on port {port} within 5 s")
    yield port
    server.terminate()
    server.wait(10)
