"""``llmaas decommission``: a host leaves; its disks are erased, and a certificate says so."""

import getpass
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer
from llmaas_gateway.audit.signing import ERASURE, KeyFormatError, Verifier
from rich.console import Console

from llmaas.cli.options import Environment
from llmaas.erasure import CertificateError, problems
from llmaas.paths import ENVIRONMENT_VARIABLE, PROJECT_ROOT
from llmaas.settings import SettingsError, load_platform

app = typer.Typer(no_args_is_help=True, help=__doc__, pretty_exceptions_enable=False)
_errors = Console(stderr=True)


def _fail(text: object, code: int) -> typer.Exit:
    _errors.print(f"llmaas: {text}", style="red", highlight=False, markup=False, soft_wrap=True)
    return typer.Exit(code)


@app.command()
def run(
    host: Annotated[str, typer.Argument(help="the host that leaves")],
    *,
    environment: Environment,
    confirm: Annotated[str, typer.Option(help="the host's name once more: its data is lost for ever")] = "",
    by: Annotated[str, typer.Option(help="who asks for it; the account's name if left away")] = "",
    check: Annotated[bool, typer.Option("--check", help="say what would be done, change nothing")] = False,
) -> None:
    """Drain a host, erase every declared device, prove it, and sign a certificate of erasure."""
    try:
        platform = load_platform(environment)
        declared = platform.host(host)
    except (SettingsError, OSError) as error:
        raise _fail(error, 2) from error
    except KeyError:
        names = ", ".join(each.name for each in platform.hosts)
        raise _fail(f"{host!r} is no host of stacks/Pulumi.{environment}.yaml; its hosts are {names}", 2) from None
    if not declared.data_devices:
        raise _fail(f"{host} has no data_devices in the stack file, so nothing on it could be certified", 2)
    if confirm != host and not check:
        raise _fail(f"this cannot be undone; say it again with --confirm {host}, or look with --check", 2)
    who = by or os.environ.get("SUDO_USER") or getpass.getuser()
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "playbooks/decommission.yml"]
    command += ["-e", f"decommission_host={host}", "-e", f"decommission_by={who}", *(["--check"] if check else [])]
    done = subprocess.run(
        command, cwd=PROJECT_ROOT / "ansible", env={**os.environ, ENVIRONMENT_VARIABLE: environment}, check=False
    )
    raise typer.Exit(done.returncode)


@app.command()
def verify(
    files: Annotated[list[Path], typer.Argument(help="certificates of erasure")],
    *,
    key: Annotated[list[Path], typer.Option("--key", help="public key that counts; llmaas evidence key prints it")],
) -> None:
    """Verify certificates offline; exit code 1 and a line for everything that does not hold."""
    try:
        verifier = Verifier.from_pems([path.read_bytes() for path in key], ERASURE)
        texts = [path.read_text(encoding="utf-8") for path in files]
    except OSError as error:
        raise _fail(f"{error.filename}: {error.strerror}", 2) from error
    except (KeyFormatError, UnicodeDecodeError) as error:
        raise _fail(error, 2) from error
    wrong = 0
    for path, text in zip(files, texts, strict=True):
        try:
            found = problems(text, verifier)
        except CertificateError as error:
            found = [str(error)]
        wrong += bool(found)
        for problem in found:
            _errors.print(f"{path}: {problem}", style="red", highlight=False, markup=False, soft_wrap=True)
        print(f"{path}: {'DOES NOT HOLD' if found else 'holds'}")
    raise typer.Exit(1 if wrong else 0)
