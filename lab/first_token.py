"""How much later the first token comes through the edge than from the model server: one client, the same for both."""

import os
import sys
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from lab.command import run
from lab.environment import base_url, demo_key_file, tool_environment
from lab.errors import LabError
from lab.layout import ENVIRONMENT, Layout
from llmaas.settings import load_platform

_SCRIPT: Final = (Path(__file__).parent / "first_piece_script.py").read_text(encoding="utf-8")
_SERVING: Final = "llmaas-serving"
_VLLM_PORT: Final = 8000
# of the model server's image, which has no shell
_PYTHON: Final = "/usr/bin/python3.11"
_ASKED: Final = 30


def first_token(layout: Layout) -> tuple[float, float]:
    """Median seconds to the first streamed piece through the edge, and of the model server asked inside its own pod.

    Raises:
        LabError: no model server runs, or a question was not answered.
    """
    model = load_platform(ENVIRONMENT).models[0]
    edge = urlsplit(base_url())
    through = {
        "address": edge.hostname,
        "port": edge.port or 443,
        "authority": str(layout.state / "pki" / "root.crt"),
        "key": demo_key_file(layout).read_text(encoding="utf-8").strip(),
    }
    alone = {"address": "127.0.0.1", "port": _VLLM_PORT, "authority": "", "key": ""}
    inside = ["kubectl", "-n", _SERVING, "exec", "-i", "-c", "vllm", _running_pod(layout, model.slug), "--", _PYTHON]
    return _median([sys.executable], through, model.name), _median(inside, alone, model.name, layout)


def _median(python: list[str], where: dict[str, Any], model: str, layout: Layout | None = None) -> float:
    environment = {**os.environ, **tool_environment(layout)} if layout else None
    given = {**where, "model": model, "asked": _ASKED}
    return float(run([*python, "-"], environment=environment, text_in=f"{_SCRIPT}\n\nmain({given!r})\n"))


def _running_pod(layout: Layout, slug: str) -> str:
    names = run(
        ["kubectl", "-n", _SERVING, "get", "pods", "--field-selector=status.phase=Running", "-o", "name"],
        environment={**os.environ, **tool_environment(layout)},
    ).split()
    pod = next((name for name in names if slug in name), None)
    if pod is None:
        raise LabError(f"no running pod of {slug} in {_SERVING}: {', '.join(names)}", remedy="run: make up")
    return pod
