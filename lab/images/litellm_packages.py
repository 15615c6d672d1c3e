"""The packages of the LiteLLM image: ``python -m lab.images.litellm_packages`` fills ``$LLMAAS_PART``.

Python packages, the query engine under ``/opt/prisma-engine``, and the database client that LiteLLM's schema describes.
"""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

from lab.errors import LabError
from lab.images.python import compile_bytecode, image_python, run
from lab.images.site_packages import SITE_PACKAGES, drop_unread, install, part_folder, strip_symbols
from llmaas.paths import PROJECT_ROOT

LOCK: Final = PROJECT_ROOT / "images/litellm/requirements.lock"
COMMAND_LINE: Final = PROJECT_ROOT / "images/litellm/prisma-cli"
ENGINE: Final = PROJECT_ROOT / "lab/standins/prisma-engine"
ENGINE_PROGRAM: Final = "query-engine.mjs"
# Nothing answers there: a program that would fetch an engine fails at once instead.
CLOSED_PORT: Final = "http://127.0.0.1:9"
_OTHER_DATABASES: Final = ("mysql", "sqlite")
# LiteLLM 1.106 replaces the client's engine under the private name that prisma 0.11 had; 0.15 names it otherwise.
_ENGINE_ALIAS: Final = """

Prisma._Prisma__engine = property(
    lambda self: self._internal_engine, lambda self, engine: setattr(self, "_internal_engine", engine)
)
"""
# prisma asks `cat` and `openssl` for the name of the engine that it would fetch; the image has neither, and its engine.
_PLATFORM: Final = """


def binary_platform() -> str:
    return "debian-openssl-3.0.x"
"""


def main() -> None:
    """Install, generate, reduce, and prove that the proxy and the client can be imported."""
    part = part_folder()
    folder = part / SITE_PACKAGES
    install(LOCK, folder)
    engine = part / "opt/prisma-engine"
    _install_engine(engine)
    _generate_client(folder, engine / ENGINE_PROGRAM)
    drop_unread(folder)
    strip_symbols(folder)
    compile_bytecode(folder, SITE_PACKAGES)
    script = "import litellm.proxy.proxy_server, litellm_proxy_extras.request_log_indexes, prisma; prisma.Prisma"
    run([image_python(), "-s", "-c", script], {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", **_QUIET})


_QUIET: Final = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False", "LITELLM_MODE": "PRODUCTION"}


def _npm_ci(folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise LabError("npm is not on this machine", remedy="apt-get install npm")
    # no scripts: Prisma's would fetch native programs
    run([npm, "ci", "--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund"], folder=folder)


def _install_engine(target: Path) -> None:
    target.mkdir(parents=True)
    for name in ("package.json", "package-lock.json", ENGINE_PROGRAM):
        shutil.copy2(ENGINE / name, target / name)
    shutil.copytree(ENGINE / "src", target / "src")
    _npm_ci(target)
    for database in _OTHER_DATABASES:
        shutil.rmtree(target / "node_modules/@prisma/query-engine-wasm" / database)


def _generate_client(packages: Path, engine: Path) -> None:
    """Run Prisma's generator for LiteLLM's schema; it writes the models into the package ``prisma``."""
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        for name in ("package.json", "package-lock.json"):
            shutil.copy2(COMMAND_LINE / name, work / name)
        _npm_ci(work)
        generator = work / "prisma-client-py"
        generator.write_text(f'#!/bin/sh\nexec {image_python()} -s -m prisma "$@"\n')
        generator.chmod(0o755)
        engines = ("PRISMA_QUERY_ENGINE_BINARY", "PRISMA_SCHEMA_ENGINE_BINARY", "PRISMA_QUERY_ENGINE_LIBRARY")
        environment = {
            # told where all engines are, it asks for none; generating needs only the parser that it has built in
            **dict.fromkeys(engines, str(engine)),
            "PRISMA_ENGINES_MIRROR": CLOSED_PORT,
            "CHECKPOINT_DISABLE": "1",
            "PRISMA_HIDE_UPDATE_MESSAGE": "1",
            "DATABASE_URL": "postgresql://generate",
            "PYTHONPATH": str(packages),
            "PATH": f"{work}{os.pathsep}{os.environ['PATH']}",
        }
        schema = packages / "litellm/proxy/schema.prisma"
        command = ["node", str(work / "node_modules/prisma/build/index.js"), "generate", "--schema", str(schema)]
        run(command, environment)
    client = packages / "prisma/client.py"
    text = client.read_text()
    if "_internal_engine" not in text and "_internal_engine" not in (packages / "prisma/_base_client.py").read_text():
        raise LabError("the generated client has no _internal_engine", remedy="revise _ENGINE_ALIAS for this prisma")
    client.write_text(text + _ENGINE_ALIAS)
    platform = packages / "prisma/binaries/platform.py"
    platform.write_text(platform.read_text() + _PLATFORM)


if __name__ == "__main__":
    main()
