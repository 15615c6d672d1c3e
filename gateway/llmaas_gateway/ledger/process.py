"""Notices that Redis was started anew: what it wrote last may be lost then, though it seems whole.

Redis puts its file on the disk once a second, so a power cut loses its last settlements and keeps the epoch. Therefore
the epoch names the process that was declared whole, and each connection looks first whether it is to that process.
"""

import re
from collections.abc import Callable
from typing import Any, Final

_RUN: Final = re.compile(rb"^run_id:(\w+)", re.MULTILINE)
# Epoch and lock begin with the run in which they were set; those of an earlier one mean nothing any more.
_FORGET: Final = """
for _, key in ipairs(KEYS) do
  local value = redis.call('GET', key)
  if value and string.sub(value, 1, #ARGV[1]) ~= ARGV[1] then redis.call('DEL', key) end
end
"""


class RedisProcess:
    """The process behind the connections of one replica."""

    def __init__(self, *keys: str) -> None:
        """Takes the keys that mean something to the process alone in which they were set."""
        self._keys = keys
        self._run: bytes | None = None
        self.restarted: Callable[[], None] = lambda: None

    async def greet(self, connection: Any) -> None:
        """Before a new connection's first command; redis-py's ``redis_connect_func``.

        Raises:
            RedisError: Redis is away, or still reads its file.
        """
        await connection.on_connect()
        await connection.send_command("INFO", "server")
        found = _RUN.search(await connection.read_response(disable_decoding=True))
        run = found[1] if found else b""
        await connection.send_command("EVAL", _FORGET, len(self._keys), *self._keys, run)
        await connection.read_response()
        known, self._run = self._run, run
        if known not in {None, run}:
            self.restarted()
