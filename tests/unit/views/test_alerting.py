"""Alerts leave Prometheus: what it is told of the receiver, and a real Prometheus that calls one."""

import json
import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from llmaas.pki import Authority
from llmaas.settings import AlertReceiver, Alerts, Platform, load_platform
from llmaas.views import prometheus
from tests.ports import free_port

NAME = "alerts.site.test"
RULES = {"groups": [{"name": "always", "rules": [{"alert": "Always", "expr": "vector(1)"}]}]}
# Much longer than it takes: a busy machine is no failure.
PATIENCE_SECONDS = 90


def told(platform: Platform, **receiver: Any) -> Platform:
    """The platform with a receiver on this machine."""
    found = AlertReceiver(address=ip_address("127.0.0.1"), host_name=NAME, **receiver)  # type: ignore[arg-type]
    return platform.model_copy(update={"alerts": Alerts(receiver=found)})


def alerting(platform: Platform) -> Any:
    return yaml.safe_load(prometheus.configuration(platform, "/certificate")).get("alerting")


def test_the_receiver_is_known_by_its_certificate_and_prometheus_by_its_own() -> None:
    assert alerting(load_platform("production")) == {
        "alertmanagers": [
            {
                "scheme": "https",
                "static_configs": [{"targets": ["10.20.0.6:9093"]}],
                "tls_config": {
                    "ca_file": "/certificate/ca.crt",
                    "cert_file": "/certificate/tls.crt",
                    "key_file": "/certificate/tls.key",
                    "min_version": "TLS13",
                    "server_name": "alerts.llm.example.fr",
                },
            }
        ]
    }


def test_nobody_is_told_where_no_receiver_is_named(platform: Platform) -> None:
    assert alerting(platform) is None


def test_another_authority_may_vouch_for_the_receiver_and_for_nobody_else(platform: Platform) -> None:
    loaded = yaml.safe_load(prometheus.configuration(told(platform, authority="site-ca.crt"), "/certificate"))
    (receiver,) = loaded["alerting"]["alertmanagers"]
    assert receiver["tls_config"]["ca_file"] == prometheus.RECEIVER_AUTHORITY_FILE
    assert receiver["tls_config"]["cert_file"] == "/certificate/tls.crt"
    assert {job["tls_config"]["ca_file"] for job in loaded["scrape_configs"]} == {"/certificate/ca.crt"}


@dataclass
class Alertmanager:
    """Stands in for the site's; ``heard`` has who called, by certificate, the path, and the alerts."""

    port: int
    heard: list[tuple[str, str, list[dict[str, Any]]]] = field(default_factory=list)


@contextmanager
def alertmanager(folder: Path, port: int) -> Iterator[Alertmanager]:
    """With the certificate in ``folder``; it takes callers that our authority vouches for, over TLS 1.3."""
    stand_in = Alertmanager(port)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            subject = dict(item[0] for item in self.connection.getpeercert()["subject"])  # type: ignore[attr-defined]
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            stand_in.heard.append((subject["commonName"], self.path, body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the base class names it so
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    context.load_verify_locations(folder / "ca.crt")
    context.verify_mode = ssl.CERT_REQUIRED
    server = HTTPServer(("127.0.0.1", port), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield stand_in
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def running(folder: Path, configuration: str) -> Iterator[str]:
    """A Prometheus whose one alert fires at once; its address."""
    loaded = yaml.safe_load(configuration)
    del loaded["scrape_configs"]
    loaded["global"] |= {"scrape_interval": "1s", "evaluation_interval": "1s"}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(loaded))
    (folder / prometheus.RULES_FILE).write_text(yaml.safe_dump(RULES))
    address = f"127.0.0.1:{free_port()}"
    command = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen([*command, f"--web.listen-address={address}"], stdout=log, stderr=log)
        try:
            yield f"http://{address}"
        finally:
            server.terminate()
            server.wait()


def failures(address: str) -> float:
    """How often it could not tell an alert."""
    try:
        lines = httpx.get(f"{address}/metrics").text.splitlines()
    except httpx.HTTPError:
        return 0
    found = [line for line in lines if line.startswith("prometheus_notifications_errors_total{")]
    return sum(float(line.rsplit(" ", 1)[1]) for line in found)


def wait_for(what: Sequence[Any] | None, address: str, log: Path) -> None:
    """Until something was heard, or telling failed."""
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        if what or failures(address):
            return
        time.sleep(0.2)
    pytest.fail(log.read_text())


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not on this machine")
@pytest.mark.parametrize("vouching", ["our authority", "another authority"])
def test_prometheus_tells_the_receiver_of_an_alert(
    platform: Platform, authority: Authority, certificates: Path, tmp_path: Path, vouching: str
) -> None:
    own = vouching == "our authority"
    leaf = authority.ensure_leaf("alert-receiver", dns=[NAME], addresses=[])
    if not own:
        (tmp_path / prometheus.RECEIVER_AUTHORITY_FILE).write_bytes(leaf.ca.read_bytes())
    port = free_port()
    changed = told(platform, port=port, authority=None if own else "site-ca.crt")
    configuration = prometheus.configuration(changed, str(certificates / "prometheus"))
    with alertmanager(leaf.certificate.parent, port) as site, running(tmp_path, configuration) as address:
        wait_for(site.heard, address, tmp_path / "log")
        # before the stand-in goes: what was heard, and that nothing failed
        assert failures(address) == 0, (tmp_path / "log").read_text()
        who, path, (alert,) = site.heard[0]
    assert (who, path) == ("prometheus", "/api/v2/alerts")
    assert (alert["labels"]["alertname"], alert["labels"]["environment"]) == ("Always", "lab")


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not on this machine")
def test_prometheus_tells_nobody_who_has_another_name(platform: Platform, certificates: Path, tmp_path: Path) -> None:
    port = free_port()
    configuration = prometheus.configuration(told(platform, port=port), str(certificates / "prometheus"))
    with alertmanager(certificates / "postgres", port) as site, running(tmp_path, configuration) as address:
        wait_for(site.heard, address, tmp_path / "log")
        assert site.heard == []
        assert failures(address) > 0


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not on this machine")
def test_promtool_takes_the_configuration(platform: Platform, certificates: Path, tmp_path: Path) -> None:
    changed = told(platform, authority="site-ca.crt")
    (tmp_path / "prometheus.yml").write_text(prometheus.configuration(changed, str(certificates / "prometheus")))
    (tmp_path / prometheus.RULES_FILE).write_text(prometheus.rules(changed, {}))
    command = ["promtool", "check", "config", "prometheus.yml"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
