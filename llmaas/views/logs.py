"""Where logs of hosts and key servers go, as Ansible sees it: the variables of the roles that send and keep them."""

from typing import Any, Final

from llmaas.settings import Host, Machine, Platform

LOG_PORT: Final = 6514
MARK_SECONDS: Final = 60
# A mark may be late by as long as a receiver takes to start again; after four of them something is wrong.
LATE_SECONDS: Final = 4 * MARK_SECONDS
STORE: Final = "/var/lib/llmaas/logs"
_SENDER_PACKAGES: Final = ("syslog-ng-core", "ulogd2")
_KEEPER_PACKAGES: Final = ("prometheus-node-exporter", "syslog-ng-core")
# Services that the packages bring along; the roles run the same programs as units of their own.
_SENDER_UNITS: Final = ("syslog-ng.service", "ulogd2.service")
_KEEPER_UNITS: Final = ("prometheus-node-exporter.service", "syslog-ng.service")
_KUBERNETES_AUDIT: Final = {"path": "/var/log/kubernetes/audit/audit.log", "program": "kubernetes-audit"}


def log_hosts_of(platform: Platform, host: Machine) -> tuple[Host, ...]:
    """The log hosts that a machine sends to: all but itself, so that logs never lie only where they were written."""
    return tuple(other for other in platform.hosts_with_role("log") if other.name != host.name)


def senders_of(platform: Platform, host: Machine) -> tuple[Machine, ...]:
    """The hosts and key servers whose logs a log host takes."""
    return tuple(other for other in platform.machines if other.name != host.name)


def packages(platform: Platform, host: Machine) -> tuple[str, ...]:
    """Debian packages that a machine needs to send logs, or to keep those of others."""
    return _of_parts(platform, host, _SENDER_PACKAGES, _KEEPER_PACKAGES)


def masked_units(platform: Platform, host: Machine) -> tuple[str, ...]:
    """Units of those packages that never run."""
    return _of_parts(platform, host, _SENDER_UNITS, _KEEPER_UNITS)


def _of_parts(platform: Platform, host: Machine, sender: tuple[str, ...], keeper: tuple[str, ...]) -> tuple[str, ...]:
    sends = sender if log_hosts_of(platform, host) else ()
    keeps = keeper if "log" in host.roles else ()
    return tuple(sorted({*sends, *keeps}))


def common(platform: Platform) -> dict[str, Any]:
    """How long hosts keep their own logs: as long as log hosts do; the roles' defaults if no time is declared."""
    if platform.retention is None:
        return {}
    days = platform.retention.logs.days
    return {"base_journal_retention": f"{days}day", "control_plane_audit_log_days": days}


def of_host(platform: Platform, host: Machine, status_port: int) -> dict[str, Any]:
    """Variables of one host or key server; ``status_port`` is where Prometheus asks a log host."""
    variables: dict[str, Any] = {
        "log_client_hosts": [
            {"name": other.name, "server": f"{other.name}.{platform.domain}", "port": LOG_PORT}
            for other in log_hosts_of(platform, host)
        ],
        "log_client_mark_seconds": MARK_SECONDS,
        "log_client_files": [_KUBERNETES_AUDIT] if "control" in host.roles else [],
    }
    if "log" in host.roles and platform.retention is not None:
        variables |= {
            "log_host_address": str(host.address),
            "log_host_port": LOG_PORT,
            "log_host_status_port": status_port,
            "log_host_senders": [other.name for other in senders_of(platform, host)],
            "log_host_retention_days": platform.retention.logs.days,
            "log_host_late_seconds": LATE_SECONDS,
        }
    return variables
