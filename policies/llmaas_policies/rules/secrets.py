"""No secret stands in the clear: it is in a Secret, and is referred to."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from llmaas_policies.model import MISSING, Parameters, Resource, Severity, Subject, Violation
from llmaas_policies.pods import Part, containers_of, environment_of, options_of, parts
from llmaas_policies.texts import files_of, parsed, strings_of, without_comments

subject = Subject()

_NAME: Final = r"(?:PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|(?:API|ACCESS|MASTER|PRIVATE)[_-]?KEY|SALT|CREDENTIAL)"
_SECRET_NAME: Final = re.compile(rf"(?i){_NAME}|^REDISCLI_AUTH$|^PGPASS$|(?:^|_)DSN$")
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
_INLINE: Final = re.compile(rf"(?i)(?:^|[\s;&?]|--)([\w-]*{_NAME})=[\"']?([^\s\"']+)")
# A reference, a path, a number, or a word that says that there is none.
_HARMLESS: Final = re.compile(
    r"(?i)(os\.environ.*|\$.*|\{\{.*|<.*>|:'.*|/.*|[\d.]+(e-?\d+)?|none|null|~|true|false|\"\"|'')"
)


def _named_like_a_secret(name: str) -> bool:
    return bool(_SECRET_NAME.search(name)) and not _NOT_A_SECRET.search(name)


def _holds_one(name: str, value: str) -> bool:
    return _named_like_a_secret(name) and bool(value) and not _HARMLESS.fullmatch(value)


def _assignments(text: str) -> Iterator[str]:
    """Names of what a configuration file sets in the clear."""
    clean = without_comments(text)
    for pattern in (_LINE, _REDIS_LINE, _INLINE):
        for name, value in pattern.findall(clean):
            if pattern is _REDIS_LINE or _holds_one(name, value):
                yield name
    yield from _settings(parsed(text))


def _settings(value: Any) -> Iterator[str]:
    """Names of the secrets in a parsed file, wherever they are nested."""
    if isinstance(value, Mapping):
        for name, below in value.items():
            if isinstance(below, str) and _holds_one(str(name), below):
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
        if value in (MISSING, "") or not _named_like_a_secret(name):
            continue
        if not (isinstance(value, str) and re.fullmatch(r"\$\(\w+\)", value)):
            yield Violation(f"{variable.path}.value", f"{name} has a value in the clear")


def _command_line(container: Part) -> Iterator[Violation]:
    for option in options_of(container):
        if isinstance(option, Violation):
            yield option
        elif _holds_one(option[1].lstrip("-").replace("-", "_"), option[2]):
            yield Violation(option[0], f"{option[1]} has a value in the clear")
    for name in ("command", "args"):
        listed = container.get(name)
        for index, text in enumerate(listed if isinstance(listed, (list, tuple)) else ()):
            if any(_holds_one(*pair) for pair in _INLINE.findall(str(text))):
                yield Violation(f"{container.path}.{name}[{index}]", "sets a secret in the clear")


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
            settings = dict.fromkeys(_assignments(text))
            yield from (Violation(path, f"sets {setting} in the clear") for setting in settings)
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
