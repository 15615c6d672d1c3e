"""The annotation `pulumi.com/waitFor`: a condition or a JSON path that has to hold, for any kind of object."""

import json
import re
from collections.abc import Mapping
from typing import Any

from lab.standins.kubernetes_provider import pods
from lab.standins.kubernetes_provider.cluster import Cluster
from lab.standins.kubernetes_provider.errors import ProviderError
from lab.standins.kubernetes_provider.readiness import READY, Check, Verdict

ANNOTATION = "pulumi.com/waitFor"


def parse(text: str) -> Check:
    """Read the annotation: one expression or a JSON list of them, all of which have to hold.

    Raises:
        ProviderError: an expression is none that can be checked.
    """
    expressions = json.loads(text) if text.lstrip().startswith("[") else [text]
    tests = [_parse_one(expression) for expression in expressions]

    def check(live: dict[str, Any], cluster: Cluster) -> Verdict:
        del cluster
        missing = [expression for expression, holds in tests if not holds(live)]
        return Verdict(ready=False, message="Waiting for " + ", ".join(missing)) if missing else READY

    return check


def _parse_one(expression: str) -> tuple[str, Any]:
    if expression.startswith("condition="):
        kind, _, wanted = expression.removeprefix("condition=").partition("=")
        value = wanted or "True"
        return expression, lambda live: pods.condition(live, kind).get("status") == value
    match = re.fullmatch(r"jsonpath=\{?(\.[^}=]+)\}?(?:=(.*))?", expression)
    if not match:
        raise ProviderError(
            f"annotation {ANNOTATION}: {expression!r} is neither condition=TYPE[=STATUS] nor jsonpath={{.path}}[=VALUE]"
        )
    parts = re.findall(r"\.([\w-]+)|\[(\d+)\]", match[1])
    wanted_text = match[2]
    return expression, lambda live: _holds(live, parts, wanted_text)


def _holds(live: Mapping[str, Any], parts: list[tuple[str, str]], wanted: str | None) -> bool:
    found: Any = live
    for key, position in parts:
        if key and isinstance(found, dict) and key in found:
            found = found[key]
        elif position and isinstance(found, list) and int(position) < len(found):
            found = found[int(position)]
        else:
            return False
    text = str(found).lower() if isinstance(found, bool) else str(found)
    return wanted is None or text == wanted.strip("'\"")
