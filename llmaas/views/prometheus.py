"""What Prometheus reads, and how it is read itself: over TLS 1.3, each side known by its certificate."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import yaml

from llmaas.settings import Model, Platform
from llmaas.settings.gpu_sets import needs_runtime
from llmaas.views import audit_alerts, certificate_alerts, gpu_alerts, money_alerts, redis_alerts
from llmaas.views import topology as t
from llmaas.views.alerts import alert
from llmaas.views.logs import LATE_SECONDS

DATA: Final = "/var/lib/prometheus"
RULES_FILE: Final = "rules.yml"
# Beside the rules, where the receiver of alerts has its certificate from another authority than ours.
RECEIVER_AUTHORITY_FILE: Final = "alert-receiver-authority.crt"
LOG_HOSTS: Final = "log-hosts"
_SCRAPE_SECONDS: Final = 15


def configuration(platform: Platform, certificate: str) -> str:
    """prometheus.yml; ``certificate`` is the folder of Prometheus' own certificate."""
    gateway = t.full_name(t.GATEWAY_SERVICE, t.GATEWAY)
    edge = t.full_name(t.EDGE_SERVICE, t.EDGE)
    jobs = [
        _job("edge", t.full_name(t.EDGE_STATUS_SERVICE, t.EDGE), edge, "/metrics", certificate),
        _job("gateway-proxy", gateway, gateway, "/metrics", certificate),
        _job("gateway", gateway, gateway, "/program-metrics", certificate),
    ]
    for model in t.served_models(platform):
        host = t.full_name(t.vllm_name(model), t.SERVING)
        told = {"model": model.name, "gpu_kind": _gpu_kinds(platform, model)}
        jobs.append(_job(f"serving-proxy-{model.slug}", host, host, "/metrics", certificate, told))
        jobs.append(_job(f"vllm-{model.slug}", host, host, "/program-metrics", certificate, told))
    if needs_runtime(platform):
        exporter = t.full_name(t.GPU_EXPORTER_SERVICE, t.GPU)
        jobs.append(_job(gpu_alerts.JOB, exporter, exporter, "/metrics", certificate, {"gpu_kind": "nvidia"}))
    if platform.hosts_with_role("log"):
        jobs.append(_log_hosts(platform, certificate))
    content = {
        "global": {
            "scrape_interval": f"{_SCRAPE_SECONDS}s",
            "evaluation_interval": f"{_SCRAPE_SECONDS}s",
            "external_labels": {"environment": platform.environment},
        },
        **_alerting(platform, certificate),
        "rule_files": [RULES_FILE],
        "scrape_configs": jobs,
    }
    return yaml.safe_dump(content, sort_keys=False)


def rules(platform: Platform, certificate_ends: Mapping[str, datetime]) -> str:
    """The alerts: of logs, the audit, Redis, money and certificates, and of real GPUs where there are any.

    ``certificate_ends`` says by its name when each certificate ends.
    """
    groups = [_log_alerts(), audit_alerts.group(), redis_alerts.group(), money_alerts.group()]
    groups.append(certificate_alerts.group(certificate_ends))
    groups += [gpu_alerts.group(platform)] if needs_runtime(platform) else []
    return yaml.safe_dump({"groups": groups}, sort_keys=False)


def _alerting(platform: Platform, certificate: str) -> dict[str, Any]:
    """Whom Prometheus tells of alerts, each side known by its certificate; nobody where none is declared."""
    receiver = platform.alert_receiver
    if receiver is None:
        return {}
    tls = {**_tls(certificate), "server_name": receiver.host_name}
    if receiver.authority is not None:
        tls["ca_file"] = RECEIVER_AUTHORITY_FILE
    targets = [f"{receiver.address}:{receiver.port}"]
    return {
        "alerting": {
            "alertmanagers": [{"scheme": "https", "static_configs": [{"targets": targets}], "tls_config": tls}]
        }
    }


def _gpu_kinds(platform: Platform, model: Model) -> str:
    """``simulated`` or ``nvidia``, as the hosts of a model have them; both where they differ."""
    kinds = {gpus.kind for gpus in (platform.host(name).gpus for name in model.placement) if gpus is not None}
    return "+".join(sorted(kinds))


def _log_alerts() -> dict[str, Any]:
    """Logs that stop, lines that never came, a log host that is away, full, or keeps days open or for too long."""
    silent = f"time() - llmaas_log_last_line_timestamp_seconds > {LATE_SECONDS}"
    alerts = [
        _alert("LogsStopped", silent, "1m", "No line of {{ $labels.sender }} came to {{ $labels.host }} for minutes"),
        _alert("LogHostAway", f'up{{job="{LOG_HOSTS}"}} == 0', "5m", "{{ $labels.host }} does not answer"),
        _alert(
            "LogLinesMissing",
            "increase(llmaas_log_missing_lines_total[1h]) > 0",
            "0s",
            "Lines of {{ $labels.sender }} never came to {{ $labels.host }}",
        ),
        _alert(
            "LogsKeptTooLong",
            "llmaas_log_overdue_files > 0",
            "2h",
            "{{ $labels.host }} has logs that are older than the declared time",
        ),
        _alert(
            "LogsNotClosed",
            "llmaas_log_unclosed_files > 0",
            "2h",
            "{{ $labels.host }} has days of logs that are over and not closed",
        ),
        _alert("LogStoreFull", "llmaas_log_store_free_ratio < 0.1", "5m", "The store of {{ $labels.host }} is filling"),
        _alert(
            "LogsUnwatched",
            "time() - llmaas_log_watch_timestamp_seconds > 600",
            "0s",
            "Nobody on {{ $labels.host }} looks whether logs come",
        ),
    ]
    return {"name": "logs", "rules": alerts}


def _alert(name: str, expression: str, lasting: str, summary: str) -> dict[str, Any]:
    return alert(name, expression, lasting, summary, runbook="docs/logs.md")


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
    name: str, pods: str, server: str, path: str, certificate: str, labels: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Every pod that the name ``pods`` stands for, each known as ``server`` by its certificate."""
    relabel = [{"target_label": key, "replacement": value} for key, value in (labels or {}).items()]
    return {
        "job_name": name,
        "scheme": "https",
        "metrics_path": path,
        "dns_sd_configs": [{"names": [pods], "type": "A", "port": t.STATUS_PORT}],
        "tls_config": {**_tls(certificate), "server_name": server},
        "relabel_configs": relabel,
    }


def _log_hosts(platform: Platform, certificate: str) -> dict[str, Any]:
    """How old the last line of each host is, as the log hosts say; they are known by their addresses."""
    targets = [
        {"targets": [f"{host.address}:{t.STATUS_PORT}"], "labels": {"host": host.name}}
        for host in platform.hosts_with_role("log")
    ]
    return {
        "job_name": LOG_HOSTS,
        "scheme": "https",
        "scrape_interval": "60s",
        "static_configs": targets,
        "tls_config": _tls(certificate),
    }


def _tls(certificate: str) -> dict[str, str]:
    return {
        "ca_file": f"{certificate}/ca.crt",
        "cert_file": f"{certificate}/tls.crt",
        "key_file": f"{certificate}/tls.key",
        "min_version": "TLS13",
    }
