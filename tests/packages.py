"""Debian packages of a test's own: a name, a version, and what they need."""

import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

_CONTROL = """\
Package: {name}
Version: {version}
Architecture: all
Maintainer: Tests <tests@llmaas.internal>
Description: {name} of the tests
{depends}"""


def build_package(folder: Path, name: str, version: str, depends: str = "") -> Path:
    """An empty package in ``folder``; ``depends`` is the line of its control file, with its end."""
    package = folder / f"{name}_{version}_all.deb"
    with TemporaryDirectory() as tree:
        control = Path(tree) / "DEBIAN" / "control"
        control.parent.mkdir()
        control.write_text(_CONTROL.format(name=name, version=version, depends=depends), encoding="utf-8")
        # it becomes the package's own root, which everybody may read
        Path(tree).chmod(0o755)
        subprocess.run(["dpkg-deb", "--build", "--root-owner-group", tree, package], check=True, capture_output=True)
    return package
