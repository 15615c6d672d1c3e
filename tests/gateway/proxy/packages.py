"""LiteLLM exactly as the image carries it: the image's own part, built once for its lock and kept in the cache."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from lab.images.parts import ensure_part
from lab.images.python import image_python
from lab.images.spec import IMAGES_ROOT, load_image

# LiteLLM's, for a program that only reads it: no database, and its price list as it came.
_SWITCHES = {"DISABLE_SCHEMA_UPDATE": "true", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION"}


def litellm_part() -> Path:
    """The folder with ``opt/site-packages`` and ``opt/prisma-engine``."""
    return ensure_part("packages", load_image(IMAGES_ROOT / "litellm").parts["packages"], print)


def told_by_script(name: str, given: str = "") -> Any:
    """What a script of this folder prints last, as JSON; run by the image's Python with its packages and the gateway's.

    Raises:
        CalledProcessError: it failed.
    """
    packages = f"{IMAGES_ROOT.parent / 'gateway'}:{litellm_part() / 'opt/site-packages'}"
    done = subprocess.run(
        [image_python(), "-s", str(Path(__file__).with_name(name))],
        input=given,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, **_SWITCHES, "PYTHONPATH": packages},
    )
    return json.loads(done.stdout.splitlines()[-1])
