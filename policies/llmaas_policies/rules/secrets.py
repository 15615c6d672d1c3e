"""No secret stands in the clear: it is in a Secret, and is referred to."""

import functools
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from llmaas_policies.model import MISSING, Parameters, Resource, Severity, Subject, Violation
from llmaas_policies.pods import Part, containers_of, environment_of, options_of, parts
from llmaas_policies.texts import commands_of, files_of, parsed, strings_of, without_comments

subject = Subject()

_NAME: Final = (
    r"(?:PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN(?!IZER)|REQUIREPASS|MASTERAUTH|(?:API|ACCESS|MASTER|PRIVATE)[_-]?KEY"
    r"|SALT|CREDENTIAL)"
)
_SECRET_NAME: Final = re.compile(rf"(?i){_NAME}")
# Names of variables that are too short to be looked for in files.
_SECRET_VARIABLE: Final = re.compile(r"(?i)(?:^|_)(?:PASS|PWD|KEY|AUTH|BEARER|DSN|PIN)$")
# What names such as MAX_TOKENS and PASSWORD_FILE hold is no secret.
_NOT_A_SECRET: Final = re.compile(
    r"(?i)(_FILE|_PATH|_DIR|-file|-path|-dir|_TOKENS?_.*|MAX_.*TOKENS?|TOKENS|-tokens|_NAME|-name|_ENABLED|PER_TOKEN"
    r"|TOKEN_PRICE|token-ids|COST_PER_.*|_TTL|_SECONDS)$"
)
_SECRET_TEXT: Final = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----"
    r"|\bsk-(?=[\w-]*\d)[\w-]{4,}|\bhf_[A-Za-z0-9]{20,}|\bgh[pousr]_[A-Za-z0-9]{20,}|\bglpat-[\w-]{16,}|\bAKIA[0-9A-Z]{16}\b"
    r"|\bhvs\.[\w-]{16,}|\bxox[abprs]-[\w-]{10,}|\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,}"
    r"|://[^/\s:@'\"]*:(?![$%{<])[^/\s@'\"]+@"
    r"|(?i:\bauthorization[\"']?\s*[:=]\s*[\"']?(?:bearer|basic)\s+(?![$<{]|KEY\b)[\w+/.=-]{6,})"
    r"|[\"']auth[\"']\s*:\s*[\"'][A-Za-z0-9+/]{8,}={0,2}[\"']"
)
_LINE: Final = re.compile(
    rf"(?im)^[\s\-\"'{{,]*(?:export\s+|set\s+|--)?([\w.-]*{_NAME}[\w.-]*)[\"']?\s*(?::(?!:)|=)\s*[\"']?([^\s\"',}}#]+)"
)
_REDIS_LINE: Final = re.compile(r"(?im)^\s*(requirepass|masterauth)\s+[\"']?([^\s\"']+)")
_OTHER_PASSWORDS: Final = re.compile(
    r"(?im)^\s*[\"']?(?:pass|pwd)[\"']?\s*[:=]\s*[\"']?(?![$<{/])[^\s\"']+"
    r"|^[^:\s#]+:(?:\d+|\*):[^:\s]+:[^:\s]+:\S+$"
    r"|\buser\s+\S+\s+(?:insecure-)?password\s+\S+"
    r"|\bPASSWORD\s+'[^']+'"
    r"|\bredis-cli\b[^|;]*\s-a\s+(?![$])\S+|\bsshpass\s+-p\s*(?![$])\S+|\bmysql\w*\b[^|;]*\s-p(?![\s$])\S+"
    r"|\bcurl\b[^|;]*\s(?:-u|--user)[\s=]+(?![$])[^\s:]+:[^\s$]+"
)
_INLINE: Final = re.compile(rf"(?i)(?:^|[\s;&?]|--)([\w-]*{_NAME})=[\"']?([^\s\"']+)")
# A reference, a path, a number, or a word that says that there is none.
_HARMLESS: Final = re.compile(r"(?i)(os\.environ.*|\$.*|\{\{.*|<.*>|:'.*|/.*|none|null|~|true|false|\"\"|'')")
_NUMBER: Final = re.compile(r"[\d.]+(e-?\d+)?")


def _named_like_a_secret(name: str) -> bool:
    return bool(_SECRET_NAME.search(name)) and not _NOT_A_SECRET.search(name)


def _holds_one(name: str, value: str) -> bool:
    if not _named_like_a_secret(name) or not value or _HARMLESS.fullmatch(value):
        return False
    # A number of tokens and a price of one are no secrets, a number as a password is.
    return "TOKEN" not in name.upper() or _NUMBER.fullmatch(value) is None


@functools.lru_cache(maxsize=2048)
def _assignments(text: str) -> tuple[str, ...]:
    """Names of what a configuration file sets in the clear."""
    return tuple(dict.fromkeys(_found(text)))


def _found(text: str) -> Iterator[str]:
    clean = without_comments(text)
    for pattern in (_LINE, _REDIS_LINE, _INLINE):
        for name, value in pattern.findall(clean):
            if pattern is _REDIS_LINE or _holds_one(name, value):
                yield name
    if _OTHER_PASSWORDS.search(clean):
        yield "a password"
    yield from _settings(parsed(text))


def _settings(value: Any) -> Iterator[str]:
    """Names of the secrets in a parsed file, wherever they are nested."""
    if isinstance(value, Mapping):
        for name, below in value.items():
            if isinstance(below, (str, int, float)) and _holds_one(str(name), str(below)):
                yield str(name)
            yield from _settings(below)
    elif isinstance(value, list):
        for below in value:
            yield from _settings(below)


def _environment(container: Part) -> Iterator[Violation]:
    for variable in environment_of(container):
        if isinstance(variable, Violation):
            yield variable
            continue
        name, value = str(variable.get("name")), variable.get("value")
        path = f"{variable.path}.value"
        if value in (MISSING, ""):
            continue
        named = _named_like_a_secret(name) or _SECRET_VARIABLE.search(name) is not None
        # Another variable, and a file, are references.
        if named and not (isinstance(value, str) and re.fullmatch(r"\$\(\w+\)|/\S+", value)):
            yield Violation(path, f"{name} has a value in the clear")
        elif isinstance(value, str):
            yield from (Violation(path, f"sets {setting} in the clear") for setting in _assignments(value))


def _command_line(container: Part) -> Iterator[Violation]:
    for option in options_of(container):
        if isinstance(option, Violation):
            yield option
        elif _holds_one(option[1].lstrip("-").replace("-", "_"), option[2]):
            yield Violation(option[0], f"{option[1]} has a value in the clear")
    for found in commands_of(container):
        line = " ".join(found[1].split())
        if any(_holds_one(*pair) for pair in _INLINE.findall(line)) or _OTHER_PASSWORDS.search(line):
            yield Violation(found[0], "sets a secret in the clear")


@subject.rule(
    "no-plain-secret", "No password, key or token stands in the clear in any object but a Secret.", Severity.CRITICAL,
    ("SecNumCloud 3.2 10.5.c", "CIS Kubernetes 5.4.1"),
    "Put it in a Secret and refer to it by secretKeyRef or a mounted file",
)  # fmt: skip
def no_plain_secret(resource: Resource, _: Parameters) -> Iterator[Violation]:
    """What stands in a pod's specification, an annotation or a ConfigMap is read by everybody who may list them."""
    for container in containers_of(resource):
        if isinstance(container, Violation):
            yield container
        else:
            yield from _environment(container)
            yield from _command_line(container)
    if resource.kind == "ConfigMap":
        for found in files_of(resource):
            if isinstance(found, Violation):
                yield found
                continue
            path, name, text = found
            if "\n" not in text.strip() and _holds_one(name, text.strip()):
                yield Violation(path, "is named like a secret and has a value in the clear")
            yield from (Violation(path, f"sets {setting} in the clear") for setting in _assignments(text))
            if _SECRET_TEXT.search(text):
                yield Violation(path, _LOOKS)
    yield from _anywhere(resource)


_LOOKS: Final = "holds what looks like a private key, an API key or a password in an address"


def _anywhere(resource: Resource) -> Iterator[Violation]:
    """Annotations, labels, probes: every other text of an object that is no Secret."""
    if resource.kind == "Secret":
        body: Any = resource.get("metadata")
    elif resource.kind == "ConfigMap":
        body = {key: value for key, value in resource.body.items() if key not in {"data", "binaryData"}}
    else:
        body = resource.body
    for path, text in strings_of(body):
        if _SECRET_TEXT.search(text):
            yield Violation(path, _LOOKS)
    for where in ("metadata.annotations", "metadata.labels"):
        found = resource.get(where)
        for name, value in found.items() if hasattr(found, "items") else ():
            if isinstance(value, str) and _holds_one(str(name), value):
                yield Violation(f"{where}[{name}]", "is named like a secret and has a value in the clear")


@subject.rule(
    "environment-by-name", "Every environment variable is named; none comes with a whole ConfigMap or Secret.",
    Severity.MEDIUM, ("SecNumCloud 3.2 14.2.a",), "Name each variable and its key instead of envFrom", waivable=True,
)  # fmt: skip
def environment_by_name(resource: Resource, _: Parameters) -> Iterator[Violation]:
    """What an envFrom brings along no rule sees, and a new key in the Secret changes what a program does."""
    for container in containers_of(resource):
        if isinstance(container, Violation):
            yield container
            continue
        for source in parts(container, "envFrom"):
            yield source if isinstance(source, Violation) else Violation(source.path, "brings variables without names")
