"""A key server on this machine that advertises keys and opens nothing."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

SIGNING = {"kty": "EC", "crv": "P-521", "x": "AQ", "y": "Ag", "key_ops": ["verify"]}
EXCHANGE = {"kty": "EC", "crv": "P-521", "x": "Aw", "y": "BA", "key_ops": ["deriveKey"]}
# their thumbprints
OWN = "l-YyZGUvPu4FvAeSWjTmej5VZ6LS_EB5Xw5KwLm4fY0"
OTHER = "aOepw2djOh2aA3zd7uXamy-n--LuOwoGPQUU8uyuKJs"


def advertisement(*keys: dict[str, Any]) -> bytes:
    payload = base64.urlsafe_b64encode(json.dumps({"keys": keys}).encode()).rstrip(b"=").decode()
    return json.dumps({"payload": payload, "protected": "", "signature": ""}).encode()


class Answer(BaseHTTPRequestHandler):
    """Answers as a key server does; below other folders as something else does."""

    def do_GET(self) -> None:
        body = {"/adv": advertisement(SIGNING, EXCHANGE), "/page/adv": b"<html>"}.get(self.path)
        self.send_response(200 if body else 404)
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *_: object) -> None:
        """Keep the tests' output short."""


@contextmanager
def answering() -> Iterator[str]:
    """The address of a key server with the key ``OWN``."""
    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def silent_address() -> str:
    """An address at which nothing answers."""
    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        port = server.server_port
    return f"http://127.0.0.1:{port}"
