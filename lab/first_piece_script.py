"""The median time to the first piece of a streamed answer, in seconds; the standard library alone, for any container.

Who sends it to a Python ends it with a call of ``main``.
"""

import http.client
import json
import ssl
import statistics
import time
from typing import Any


def connect(address: str, port: int, authority: str) -> http.client.HTTPConnection:
    """A connection that all questions share, as a client's do."""
    if not authority:
        return http.client.HTTPConnection(address, port, timeout=60)
    context = ssl.create_default_context(cafile=authority)
    return http.client.HTTPSConnection(address, port, timeout=60, context=context)


def first_piece(connection: http.client.HTTPConnection, key: str, model: str) -> float:
    """Seconds from the question to the first piece of its answer, which is read to its end."""
    question = {
        "model": model,
        "messages": [{"role": "user", "content": "Bonjour"}],
        "max_tokens": 4,
        "stream": True,
    }
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    began = time.monotonic()
    connection.request("POST", "/v1/chat/completions", json.dumps(question), headers)
    answer = connection.getresponse()
    if answer.status != http.client.OK:
        raise SystemExit(f"{answer.status}: {answer.read().decode()}")
    for line in answer:
        if b'"content"' in line:
            seconds = time.monotonic() - began
            # to its end, so that the next question does not meet this answer
            answer.read()
            return seconds
    raise SystemExit("an answer without a piece")


def main(given: dict[str, Any]) -> None:
    """Ask, and print the median.

    Args:
        given: address, port, authority (path of a CA file; empty for plain HTTP), key, model, asked (how often).
    """
    connection = connect(given["address"], given["port"], given["authority"])
    print(statistics.median(first_piece(connection, given["key"], given["model"]) for _ in range(given["asked"])))
