"""On the wire: TLS 1.3 wherever a version is set, written out where the default is older, and always checked."""

import functools
import re
from collections.abc import Iterator
from typing import Final

from llmaas_policies.model import UNKNOWN, Parameters, Resource, Severity, Subject, Violation
from llmaas_policies.pods import Part, containers_of, names_in, options_of, variables_of
from llmaas_policies.texts import configuration_texts, container_texts, known_files, without_comments

subject = Subject()

# TLSv1.2, TLS 1.1, TLSv1, tlsv12, TLS1_2_VERSION, VersionTLS12, SSLv3, force-tlsv12; not TLSv1.3, TLS13, TLS1_3
_OLD_NAME: Final = re.compile(
    r"(?i)(?<![a-z0-9])(?:TLS[ _-]?v?[._ -]?1(?:[._-]?[012])?|SSL[ _-]?v?[23](?:\.0)?)(?![a-z0-9]|[._-]\d)"
    r"|VersionTLS1[012]\b|VersionSSL30\b"
)
# tls_min_version: "1.2", --tls-min-version 1.2, minTLSVersion=1.0, ssl-min-ver=0x0303
_OLD_NUMBER: Final = re.compile(
    r"(?i)[\w.-]*(?:tls|ssl)[\w.-]*(?:ver|version|proto|protocol|protocols|min|max|minimum|maximum)\w*"
    r"[\"']?[\s:=]+[\"'\[]*(?:1\.?[012]|0x030[0123]|77[01])\b"
    r"|\bmin(?:imum)?_?(?:protocol_?)?version[\"']?\s*[:=]\s*[\"']?1\.?[012]\b"
)
_WITHOUT_NEW: Final = re.compile(r"(?i)\bno-tlsv?1\.?3\b|[+,:\s]!TLSv?1\.?3\b|-TLSv1\.3\b")

_UNCHECKED: Final = tuple(
    (re.compile(pattern, re.IGNORECASE | re.MULTILINE), meaning)
    for pattern, meaning in (
        (r"\bverify\s+none\b", "the other side is not checked"),
        (r"\binsecure_?skip_?verify[\"']?\s*[:=]\s*[\"']?(?:true|1|yes)\b", "the other side is not checked"),
        (r"\b\w*ssl_verify[\"']?\s*[:=]\s*[\"']?(?:false|0|no|off)\b", "the other side is not checked"),
        (r"\bssl_cert_reqs[\"']?\s*[:=]\s*[\"']?(?:none|optional|null|CERT_NONE)\b", "the other side is not checked"),
        (r"\bssl_check_hostname[\"']?\s*[:=]\s*[\"']?(?:false|0|no)\b", "the other side's name is not checked"),
        (r"\b\w*sslmode\s*[=:]\s*[\"']?(?:disable|allow|prefer|require|verify-ca)\b", "only verify-full is checked"),
        (r"\bNODE_TLS_REJECT_UNAUTHORIZED=0\b", "the other side is not checked"),
        (r"\bPYTHONHTTPSVERIFY=0\b", "the other side is not checked"),
        (r"(?:^|\s)(?:curl|wget)\b.*\s(?:-k|--insecure|--no-check-certificate)\b", "the other side is not checked"),
        (r"^\s*ssl\s*=\s*off\b", "PostgreSQL speaks without TLS"),
        (r"^\W*scheme:\s*[\"']?http\b(?!s)", "it is asked without TLS"),
        (r"\bredis://(?!127\.0\.0\.1|localhost)", "Redis is spoken to without TLS; write rediss://"),
    )
)
_PLAIN_ADDRESS: Final = re.compile(r"(?i)\b(?:http|ws)://(?!127\.0\.0\.1|localhost|\[::1\])[\w.$({\[-]+")
_TLS_VARIABLE: Final = re.compile(r"(?i)(TLS|SSL).*(VER|PROTO|MODE|VERIFY|REJECT)")


@functools.lru_cache(maxsize=2048)
def _old_versions(text: str) -> tuple[str, ...]:
    """How a text names a version that is too old. Kept, because the same texts are judged again and again."""
    clean = without_comments(text)
    patterns = (_OLD_NAME, _OLD_NUMBER, _WITHOUT_NEW)
    return tuple(" ".join(match.group(0).split()) for pattern in patterns for match in pattern.finditer(clean))


@functools.lru_cache(maxsize=2048)
def _unchecked(text: str) -> tuple[str, ...]:
    """What a text says against checking the other side."""
    clean = without_comments(text)
    found = ((pattern.search(clean), meaning) for pattern, meaning in _UNCHECKED)
    return tuple(f"says {' '.join(match.group(0).split())}: {meaning}" for match, meaning in found if match)


@subject.rule(
    "tls-1-3-only", "Wherever a TLS version is set, it is 1.3.", Severity.CRITICAL,
    ("SecNumCloud 3.2 10.2.a", "ANSSI TLS R3"), "Write TLSv1.3 as the minimum",
)  # fmt: skip
def tls_1_3_only(resource: Resource, _: Parameters) -> Iterator[Violation]:
    """The oldest version that a listener takes is the one an attacker chooses."""
    for found in configuration_texts(resource):
        if isinstance(found, Violation):
            yield found
            continue
        yield from (Violation(found[0], f"names {old}; only TLS 1.3 is allowed") for old in _old_versions(found[1]))
    for container in containers_of(resource):
        for name, values in variables_of(container).items() if not isinstance(container, Violation) else ():
            if UNKNOWN in values and _TLS_VARIABLE.search(name):
                yield Violation(f"{container.path}.env[{name}]", "is not known at preview")


_LOOPBACK: Final = ("127.0.0.1:", "[::1]:", "::1:", "localhost:", "unix@", "/")


def _haproxy(text: str) -> Iterator[str]:
    """A listener of HAProxy takes TLS 1.2 unless told otherwise, and plain HTTP unless it says ssl."""
    lines = [" ".join(line.split()) for line in without_comments(text).splitlines()]
    floor = any(re.match(r"ssl-default-bind-options\b.*\bssl-min-ver TLSv1\.3\b", line) for line in lines)
    for line in lines:
        if not line.startswith("bind "):
            continue
        address = line.split()[1]
        if address.startswith(_LOOPBACK):
            continue
        if " ssl " not in f"{line} ":
            yield f"`{line[:60]}` listens without TLS"
        elif not floor and "ssl-min-ver TLSv1.3" not in line:
            yield f"`{line[:60]}` has no ssl-min-ver TLSv1.3"


def _haproxy_servers(text: str) -> Iterator[str]:
    for line in (" ".join(each.split()) for each in without_comments(text).splitlines()):
        # server NAME ADDRESS ..., server-template PREFIX COUNT ADDRESS ...
        words = line.split()
        place = {"server": 2, "server-template": 3}.get(words[0] if words else "", len(words))
        address = words[place] if place < len(words) else "127.0.0.1:"
        if not address.startswith(_LOOPBACK) and "ssl" not in words:
            yield f"`{line[:60]}` is spoken to without TLS"


def _redis(text: str) -> Iterator[str]:
    words = {tuple(line.replace('"', "").split()) for line in without_comments(text).splitlines()}
    if {word for word in words if word and word[0].lower() == "port"} != {("port", "0")}:
        yield "Redis listens without TLS: port must be 0"
    if ("tls-protocols", "TLSv1.3") not in words:
        yield 'has no line tls-protocols "TLSv1.3"'


def _redis_by_options(container: Part) -> Iterator[Violation]:
    """Redis whose ports are set where it is started."""
    if "redis" not in names_in(container.get("image")):
        return
    for option in options_of(container):
        if not isinstance(option, Violation) and option[1] == "--port" and option[2] != "0":
            yield Violation(option[0], "Redis listens without TLS: --port must be 0")


def _prometheus(text: str) -> Iterator[str]:
    if re.search(r"(?m)^tls_server_config:", text) and not re.search(r"(?m)^ +min_version: [\"']?TLS13\b", text):
        yield "tls_server_config has no min_version: TLS13"


@subject.rule(
    "tls-minimum-is-written", "HAProxy, Redis and Prometheus listen with TLS only, and their minimum is written out.",
    Severity.CRITICAL, ("SecNumCloud 3.2 10.2.a", "ANSSI TLS R3"),
    'Write ssl-min-ver TLSv1.3, tls-protocols "TLSv1.3" and port 0, or min_version: TLS13',
)  # fmt: skip
def tls_minimum_is_written(resource: Resource, _: Parameters) -> Iterator[Violation]:
    """Their defaults take TLS 1.2 or none at all; a missing line is as bad as a wrong one."""
    for container in containers_of(resource):
        yield from [container] if isinstance(container, Violation) else _redis_by_options(container)
    for found in known_files(resource):
        if isinstance(found, Violation):
            yield found
            continue
        path, name, text = found
        if re.search(r"(?m)^\s*bind\s+\S*:", text) and re.search(r"(?m)^(frontend|listen)\b", text):
            yield from (Violation(path, wrong) for wrong in (*_haproxy(text), *_haproxy_servers(text)))
        if name == "redis.conf" or re.search(r"(?m)^\s*(tls-port|appendonly|maxmemory)\s", text):
            yield from (Violation(path, wrong) for wrong in _redis(text))
        yield from (Violation(path, wrong) for wrong in _prometheus(text))


@subject.rule(
    "tls-is-checked", "Whoever connects checks the certificate and the name of the other side.", Severity.HIGH,
    ("SecNumCloud 3.2 10.2.a",), "Name the certificate authority and keep the check on",
)  # fmt: skip
def tls_is_checked(resource: Resource, _: Parameters) -> Iterator[Violation]:
    """Encryption towards an unknown is encryption towards whoever stands between."""
    for container in containers_of(resource):
        for found in container_texts(container) if not isinstance(container, Violation) else ():
            if not isinstance(found, Violation) and (match := _PLAIN_ADDRESS.search(found[1])):
                yield Violation(found[0], f"names {match.group(0)}, which is spoken to without TLS")
    for found in configuration_texts(resource):
        if isinstance(found, Violation):
            yield found
            continue
        yield from (Violation(found[0], wrong) for wrong in _unchecked(found[1]))
