"""What Prometheus reads, and how it is read itself: over TLS 1.3, each side known by its certificate."""

from typing import Any, Final

import yaml

from llmaas.settings import Platform
from llmaas.views import topology as t

DATA: Final = "/var/lib/prometheus"
_SCRAPE_SECONDS: Final = 15


def configuration(platform: Platform, certificate: str) -> str:
    """prometheus.yml; ``certificate`` is the folder of Prometheus' own certificate."""
    gateway = t.full_name(t.GATEWAY_SERVICE, t.GATEWAY)
    edge = t.full_name(t.EDGE_SERVICE, t.EDGE)
    jobs = [
        _job("edge", t.full_name(t.EDGE_STATUS_SERVICE, t.EDGE), edge, "/metrics", certificate),
        _job("gateway-proxy", gateway, gateway, "/metrics", certificate),
    ]
    for model in t.served_models(platform):
        host = t.full_name(t.vllm_name(model), t.SERVING)
        jobs.append(_job(f"serving-proxy-{model.slug}", host, host, "/metrics", certificate, model=model.name))
        jobs.append(_job(f"vllm-{model.slug}", host, host, "/program-metrics", certificate, model=model.name))
    content = {
        "global": {
            "scrape_interval": f"{_SCRAPE_SECONDS}s",
            "evaluation_interval": f"{_SCRAPE_SECONDS}s",
            "external_labels": {"environment": platform.environment},
        },
        "scrape_configs": jobs,
    }
    return yaml.safe_dump(content, sort_keys=False)


def web_configuration(certificate: str) -> str:
    """How Prometheus itself is reached."""
    server = {
        "cert_file": f"{certificate}/tls.crt",
        "key_file": f"{certificate}/tls.key",
        "client_ca_file": f"{certificate}/ca.crt",
        "client_auth_type": "RequireAndVerifyClientCert",
        "min_version": "TLS13",
    }
    return yaml.safe_dump({"tls_server_config": server}, sort_keys=False)


def _job(  # noqa: PLR0913, PLR0917 - what a job is made of
    name: str, pods: str, server: str, path: str, certificate: str, model: str | None = None
) -> dict[str, Any]:
    """Every pod that the name ``pods`` stands for, each known as ``server`` by its certificate."""
    labels = {} if model is None else {"model": model}
    relabel = [{"target_label": key, "replacement": value} for key, value in labels.items()]
    return {
        "job_name": name,
        "scheme": "https",
        "metrics_path": path,
        "dns_sd_configs": [{"names": [pods], "type": "A", "port": t.STATUS_PORT}],
        "tls_config": {
            "ca_file": f"{certificate}/ca.crt",
            "cert_file": f"{certificate}/tls.crt",
            "key_file": f"{certificate}/tls.key",
            "server_name": server,
            "min_version": "TLS13",
        },
        "relabel_configs": relabel,
    }
