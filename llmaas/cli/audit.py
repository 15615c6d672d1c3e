"""``llmaas audit``: what was done and called, as files that anyone can verify offline."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from llmaas_gateway.audit.signing import KeyFormatError, Signer, Verifier
from llmaas_gateway.audit.verify import Report, verify_files
from rich.console import Console

from llmaas.admin import AdminError
from llmaas.admin.audit import fetch_export
from llmaas.admin.calls import Calls
from llmaas.admin.connection import open_http
from llmaas.cli.administration import AsJson, Reached
from llmaas.cli.options import Environment
from llmaas.materials import AUDIT_KEY
from llmaas.secrets import SecretStore

app = typer.Typer(no_args_is_help=True, help=__doc__, pretty_exceptions_enable=False)
_errors = Console(stderr=True)

Keys = Annotated[list[Path], typer.Option("--key", help="public key that counts, as `llmaas audit key` prints it")]


def _fail(text: object, code: int) -> typer.Exit:
    _errors.print(f"llmaas: {text}", style="red", highlight=False, markup=False, soft_wrap=True)
    return typer.Exit(code)


@app.command()
def verify(
    files: Annotated[list[Path], typer.Argument(help="files of an export, or folders of them")],
    *,
    key: Keys,
    as_json: AsJson = False,
) -> None:
    """Verify exported files offline; exit code 1 and a line for everything that was altered, dropped or inserted."""
    try:
        verifier = Verifier.from_pems([path.read_bytes() for path in key])
    except OSError as error:
        raise _fail(f"--key {error.filename}: {error.strerror}", 2) from error
    except KeyFormatError as error:
        raise _fail(f"--key: {error}", 2) from error
    report = verify_files(_all(files), verifier)
    if as_json:
        print(json.dumps({"holds": report.holds, **asdict(report)}, ensure_ascii=False))
    else:
        _print(report)
    raise typer.Exit(0 if report.holds else 1)


def _all(paths: Iterable[Path]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        found += sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
    return found


def _print(report: Report) -> None:
    for problem in report.problems:
        _errors.print(str(problem), style="red", highlight=False, markup=False, soft_wrap=True)
    for note in report.notes:
        _errors.print(f"note: {note}", highlight=False, markup=False, soft_wrap=True)
    for covered in report.covers:
        print(covered)
    words = "holds" if report.holds else f"DOES NOT HOLD: {len(report.problems)} problems"
    print(f"{report.records} records in {report.files} files: {words}")


@app.command()
def export(
    *,
    since: Annotated[datetime, typer.Option("--from", formats=["%Y-%m-%d"], help="first day, such as 2026-11-01")],
    until: Annotated[datetime, typer.Option("--to", formats=["%Y-%m-%d"], help="the day after the last one")],
    into: Annotated[Path, typer.Option(help="a folder that is made")],
    tenant: Annotated[str | None, typer.Option(help="only what concerns this tenant")] = None,
    environment: Reached = None,
) -> None:
    """Fetch what was recorded as files, one for each chain and month (UTC)."""
    if since >= until:
        raise typer.BadParameter(f"{since:%Y-%m-%d} is not before --to {until:%Y-%m-%d}", param_hint="--from")
    try:
        with open_http(environment) as http:
            files = fetch_export(http, into, since=since.date(), until=until.date(), tenant=tenant)
    except AdminError as error:
        raise _fail(error, 1) from error
    for path in files:
        print(path)
    print(f"Next: llmaas audit verify {into} --key PUBLIC_KEY")


@app.command()
def record(
    action: Annotated[str, typer.Argument(help="such as deployment.update, prices.record, hosts.change")],
    subject: Annotated[str, typer.Argument(metavar="OBJECT", help="what it was done to")],
    *,
    detail: Annotated[list[str] | None, typer.Option(metavar="NAME=TEXT", help="may be repeated; no secrets")] = None,
    environment: Reached = None,
) -> None:
    """Record an act that was done from this machine and not through the gateway; scripts that deploy call it."""
    pairs = [text.partition("=") for text in detail or ()]
    if wrong := [name for name, equals, _ in pairs if not (name and equals)]:
        raise typer.BadParameter(f"{wrong[0]!r}: write NAME=TEXT", param_hint="--detail")
    body = {"action": action, "object": subject, "details": {name: text for name, _, text in pairs}}
    try:
        with open_http(environment) as http:
            place = Calls(http)("POST", "/llmaas/audit/acts", body)
    except AdminError as error:
        raise _fail(error, 1) from error
    print(f"record {place['number']} of stream {place['stream']}")


@app.command()
def key(*, environment: Environment) -> None:
    """Print the public key of an environment, made if there is none; give it to whoever verifies, by another way."""
    print(Signer.from_secret(SecretStore.open(environment).text(AUDIT_KEY)).public_pem(), end="")
