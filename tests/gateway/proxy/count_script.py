"""Run by the image's Python, which has the package tokenizers: what is reserved for prompts, and what they really have.

Reads ``{"tokenizer": path, "template": text, "bodies": [request]}``, prints ``[least, most, real, system]`` of each.
"""

import copy
import json
import sys
from pathlib import Path
from typing import Any

from jinja2 import Environment
from llmaas_gateway.proxy.counting import InputCounter, tokenizer
from llmaas_gateway.proxy.settings import ServedModel


def rendered(template: str, body: dict[str, Any]) -> str:
    """As vLLM does it: arguments of calls come to the template as what they mean."""
    messages = copy.deepcopy(body["messages"])
    for message in messages:
        for call in message.get("tool_calls") or ():
            call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    environment = Environment(trim_blocks=True, lstrip_blocks=True)  # noqa: S701 - a prompt is no HTML
    # Jinja's own escapes for HTML.
    environment.filters["tojson"] = lambda value, indent=None: json.dumps(value, indent=indent, ensure_ascii=False)
    options = {"tools": body.get("tools"), "add_generation_prompt": True, **body.get("chat_template_kwargs", {})}
    return environment.from_string(template).render(messages=messages, **options)


given = json.load(sys.stdin)
path = Path(given["tokenizer"])
model = ServedModel(name="m", context_tokens=1_000_000, tokenizer=path)
counter, count = InputCounter([model], tokenizer), tokenizer(path, None)
found = []
for each in given["bodies"]:
    bounds = counter.count(model, each)
    found.append([bounds.least_a_prompt, bounds.most, count(rendered(given["template"], each)), bounds.system])
print(json.dumps(found))
