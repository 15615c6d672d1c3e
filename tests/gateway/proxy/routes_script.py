"""Run by the image's Python with LiteLLM's packages: which of LiteLLM's routes answer to what the gateway lets through.

Every route is tried at a path that it takes; one that begins with any word, at each word that another begins with.
Prints ``[method, path, module, function]`` of the answering route for all that the gateway would pass on.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from litellm.proxy._lazy_features import register_all_features
from litellm.proxy.proxy_server import app
from llmaas_gateway.proxy import endpoints
from starlette.routing import Match

PARAMETER = re.compile(r"{[^}]*}")


def flat(routes: list[Any]) -> Iterator[Any]:
    """Routes and those of routers within routers, in the order in which they are asked."""
    for route in routes:
        if hasattr(route, "effective_candidates"):
            yield from flat([*route.effective_candidates(), *route.effective_low_priority_routes()])
        else:
            yield route


def declared(route: Any) -> Any:
    return getattr(route, "original_route", route)


def answering(method: str, path: str) -> tuple[str, str]:
    scope = {"type": "http", "method": method, "path": path, "root_path": "", "headers": [], "query_string": b""}
    for route in ROUTES:
        if route.matches(scope)[0] is Match.FULL:
            function = getattr(declared(route), "endpoint", None)
            return getattr(function, "__module__", "files"), getattr(function, "__name__", declared(route).path)
    return "nothing", ""


# LiteLLM itself imports some of its routes with the first request to them.
register_all_features(app)
ROUTES = list(flat(app.router.routes))
TEMPLATES = [(route, getattr(declared(route), "path", "")) for route in ROUTES]
WORDS = {template.split("/")[1] for _, template in TEMPLATES if "/" in template} | {"llmaas"}
tried = set()
for route, template in TEMPLATES:
    for word in sorted(WORDS) if template.startswith("/{") else [""]:
        path = PARAMETER.sub("x", PARAMETER.sub(word, template, count=1) if word else template)
        for method in getattr(declared(route), "methods", None) or ("GET", "POST"):
            if endpoints.is_served(method, path) or endpoints.lists_models(method, path):
                tried.add((method, path))
print(json.dumps([[method, path, *answering(method, path)] for method, path in sorted(tried)]))
