"""What of a request to a model goes on to LiteLLM beside its body."""

import pytest
from llmaas_gateway.proxy.endpoints import passed_headers


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"content-type", b"application/x-www-form-urlencoded"),
        (b"Content-Type", b"multipart/form-data; boundary=b"),
        (b"content-type", b"application/json; charset=utf-16"),
        (b"content-type", b"application/x-protobuf"),
        (b"Content-Encoding", b"gzip"),
        (b"Transfer-Encoding", b"chunked"),
        (b"content-length", b"1"),
    ],
)
def test_how_the_body_is_read_is_not_the_clients_to_say(name: bytes, value: bytes) -> None:
    passed = passed_headers([(b"authorization", b"Bearer sk-1"), (name, value), (name, value)], 7)
    assert sorted(passed) == [
        (b"authorization", b"Bearer sk-1"),
        (b"content-length", b"7"),
        (b"content-type", b"application/json"),
    ]
