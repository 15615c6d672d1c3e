import re
import socket
import ssl

import httpx
import pytest

# Paths of LiteLLM and vLLM that no tenant may reach: administration, health, metrics, its web interface, other routes.
CLOSED_PATHS = (
    "/",
    "/ui",
    "/ui/",
    "/metrics",
    "/health",
    "/health/readiness",
    "/docs",
    "/openapi.json",
    "/key/list",
    "/key/generate",
    "/team/list",
    "/user/list",
    "/model/info",
    "/v1/model/info",
    "/spend/logs",
    "/config/yaml",
    "/v1/files",
    "/v1/responses/resp_1",
    "/v1/messages/batches",
    "/v1/batches",
    "/v1/audio/speech",
    "/chat/completions",
    "/engines/x/chat/completions",
    "/v1/chat/completions/",
    "/v1/../key/list",
    "/v1/%2e%2e/key/list",
    "//key/list",
    "/tokenize",
    "/invocations",
)
PORTS = (443, 8444)


@pytest.mark.parametrize("path", CLOSED_PATHS)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_unlisted_path_is_404_on_the_public_side(web: httpx.Client, key: str, method: str, path: str) -> None:
    # Sent as it stands: a client that tidies paths would hide the attempt.
    url = web.base_url.copy_with(raw_path=path.encode())
    answer = web.request(method, url, headers={"authorization": f"Bearer {key}"}, json={} if method == "POST" else None)
    assert answer.status_code == 404
    assert "error" in answer.json()


def test_the_master_key_opens_no_administration_on_the_public_side(web: httpx.Client, admin_key: str) -> None:
    answer = web.get("/key/list", headers={"authorization": f"Bearer {admin_key}"})
    assert answer.status_code == 404


def test_a_tenant_s_key_administers_nothing(trust: ssl.SSLContext, entrance: str, key: str) -> None:
    with httpx.Client(verify=trust, trust_env=False, base_url=f"https://{entrance}:8444") as private:
        for path in ("/key/list", "/spend/logs", "/global/spend"):
            answer = private.get(path, headers={"authorization": f"Bearer {key}"})
            assert answer.status_code in {401, 403} or not answer.json().get("keys", ["x"]), path
        made = private.post("/key/generate", headers={"authorization": f"Bearer {key}"}, json={})
        assert made.status_code in {401, 403}


def test_the_private_side_serves_litellm_s_web_interface_and_what_it_loads(
    trust: ssl.SSLContext, entrance: str
) -> None:
    with httpx.Client(verify=trust, trust_env=False, timeout=30, base_url=f"https://{entrance}:8444") as private:
        page = private.get("/ui/")
        assert page.status_code == 200
        assert page.headers["content-type"].startswith("text/html")
        # Their names hold hashes, so they are taken from the page.
        loaded = re.findall(r'\b(?:src|href)="(/[^"?]+\.(?:js|css))"', page.text)
        for suffix, kind in ((".js", "javascript"), (".css", "text/css")):
            paths = [path for path in loaded if path.endswith(suffix)]
            assert paths, f"the page loads no {suffix}: is it the interface?"
            asset = private.get(paths[0])
            assert asset.status_code == 200, paths[0]
            assert kind in asset.headers["content-type"], paths[0]
            assert asset.content, paths[0]


def test_an_unknown_host_name_is_404(web: httpx.Client, key: str) -> None:
    headers = {"host": "elsewhere.example", "authorization": f"Bearer {key}"}
    assert web.get("/v1/models", headers=headers).status_code == 404


@pytest.mark.parametrize("port", PORTS)
def test_the_entrance_speaks_tls_1_3_and_refuses_1_2(entrance: str, port: int) -> None:
    assert _handshake(entrance, port, ssl.TLSVersion.TLSv1_3) == "TLSv1.3"
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        _handshake(entrance, port, ssl.TLSVersion.TLSv1_2)


@pytest.mark.parametrize("port", PORTS)
def test_the_entrance_answers_no_plain_http(entrance: str, port: int) -> None:
    with socket.create_connection((entrance, port), 5) as plain:
        plain.sendall(b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n")
        try:
            answer = plain.recv(1024)
        except ConnectionResetError:
            return
    # an end, or an alert of TLS; even a refusal in the clear would have read the request
    assert not answer.startswith(b"HTTP/"), answer


def _handshake(address: str, port: int, version: ssl.TLSVersion) -> str | None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    with socket.create_connection((address, port), 10) as sock, context.wrap_socket(sock) as secure:
        return secure.version()
