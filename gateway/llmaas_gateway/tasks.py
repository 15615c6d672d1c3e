"""The end of what runs beside the calls."""

import asyncio
from typing import Any

# psycopg takes up to ten seconds to end a query that is cancelled, most often none.
_AGAIN_SECONDS = 5.0


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait until they are over, whatever they end with.

    Once is not enough: the asyncio.wait_for of Python 3.11, which redis-py writes with, drops a cancellation that comes
    together with its result, and what loops for ever would then be waited for for ever.
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_AGAIN_SECONDS)
    # so that nothing complains of an error that nobody asked for
    await asyncio.gather(*tasks, return_exceptions=True)
