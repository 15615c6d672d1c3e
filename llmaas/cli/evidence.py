"""``llmaas evidence``: what an auditor is given, signed, and its verification anywhere."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from llmaas_gateway.audit.signing import EVIDENCE, KeyFormatError, Signer
from rich.console import Console
from rich.table import Table

from llmaas.cli.options import Environment, OptionalEnvironment, refuse_before_subcommand
from llmaas.evidence.verification import verify_folder
from llmaas.materials import EVIDENCE_KEY
from llmaas.secrets import SecretStore
from llmaas.settings import Platform, SettingsError, load_platform
from llmaas.verify import Check

if TYPE_CHECKING:
    from llmaas.evidence.assembly import Evidence

app = typer.Typer(help=__doc__, pretty_exceptions_enable=False)
_errors = Console(stderr=True)

Keys = Annotated[list[Path] | None, typer.Option("--key", help="public key that counts, got from the operator")]


def _fail(text: object, code: int) -> typer.Exit:
    _errors.print(f"llmaas: {text}", style="red", highlight=False, markup=False, soft_wrap=True)
    return typer.Exit(code)


@app.callback(invoke_without_command=True)
def make(  # noqa: PLR0913 - one for each option
    context: typer.Context,
    *,
    environment: OptionalEnvironment = None,
    output: Annotated[Path | None, typer.Option(help="a folder that is made; must not be there")] = None,
    records: Annotated[
        list[Path] | None,
        typer.Option("--from", help="take tests from this record (`llmaas verify --json`) instead of running them"),
    ] = None,
    emulated: Annotated[
        bool, typer.Option("--emulated", help="run the tests on hosts with kernels of their own too (75 minutes)")
    ] = False,
    accept_differences: Annotated[
        bool,
        typer.Option("--accept-differences", help="take records of other inputs or software; the evidence says so"),
    ] = False,
    certificates: Annotated[Path | None, typer.Option(help="a folder of certificates of erasure to enclose")] = None,
    certificate_keys: Annotated[
        list[Path] | None,
        typer.Option(
            "--certificate-key", help="an earlier public key, which signed certificates before it was replaced"
        ),
    ] = None,
) -> None:
    """Run the checks and write evidence; exit code 1 if a check failed, 2 if nothing could be written."""
    refuse_before_subcommand(context)
    if context.invoked_subcommand is not None:
        return
    if environment is None:
        raise typer.BadParameter("name an environment, such as lab", param_hint="--environment")
    if records and emulated:
        raise typer.BadParameter("runs tests, and --from runs none; leave one away", param_hint="--emulated")
    target = output or Path(f"evidence-{environment}-{datetime.now(UTC):%Y-%m-%dT%H%MZ}")
    try:
        platform = load_platform(environment)
    except (SettingsError, OSError) as error:
        raise _fail(error, 2) from error
    enclose = _enclosing(certificates, certificate_keys or [])
    options = {"emulated": emulated, "accept_differences": accept_differences}
    raise typer.Exit(0 if _make(platform, target, records or [], enclose, options) else 1)


def _enclosing(certificates: Path | None, keys: list[Path]) -> Callable[[str], dict[str, bytes]]:
    """What reads the certificates that hold under the key of now or an earlier one."""
    if keys and certificates is None:
        raise typer.BadParameter("is of no use without --certificates", param_hint="--certificate-key")
    try:
        earlier = [path.read_bytes() for path in keys]
    except OSError as error:
        raise _fail(f"--certificate-key {error.filename}: {error.strerror}", 2) from error

    def read(public_key: str) -> dict[str, bytes]:
        from llmaas.evidence.folder import read_certificates  # noqa: PLC0415 - as in _make

        return read_certificates(certificates, [public_key, *earlier])

    return read


def _make(
    platform: Platform,
    target: Path,
    records: list[Path],
    enclose: Callable[[str], dict[str, bytes]],
    options: dict[str, bool],
) -> bool:
    """Whether no check failed; the heavy imports stand here, so that ``verify`` does without them."""
    from llmaas.evidence.assembly import assemble  # noqa: PLC0415
    from llmaas.evidence.control_map import CONTROL_MAP, MapError, load_control_map  # noqa: PLC0415
    from llmaas.evidence.folder import FolderError, check_target, write_folder  # noqa: PLC0415
    from llmaas.evidence.gathering import RecordError, gather  # noqa: PLC0415
    from llmaas.evidence.oscal import OscalError  # noqa: PLC0415
    from llmaas.hardening.record import ScoreRecordError  # noqa: PLC0415

    try:
        check_target(target)
        control_map = load_control_map()
        signer = Signer.from_secret(SecretStore.open(platform.environment).text(EVIDENCE_KEY), EVIDENCE)
        enclosed = enclose(signer.public_pem())
        with _errors.status("checks run; the log is in logs/verify.log") as status:
            progress = _Progress(status.update)
            gathered = gather(platform, control_map, progress, records=records, **options)
            evidence = assemble(platform, control_map, CONTROL_MAP, gathered, signer.key)
            write_folder(
                evidence,
                target,
                signer,
                certificates=enclosed,
                on_part=lambda name: status.update(f"writing {name}"),
            )
    except (FolderError, MapError, RecordError, KeyFormatError, OscalError, ScoreRecordError, SettingsError) as error:
        raise _fail(error, 2) from error
    except KeyboardInterrupt as error:
        raise _fail("interrupted; nothing was written", 130) from error
    _print(evidence, target)
    return not evidence.verdict.problem and all(row.outcome != "failed" for row in evidence.verdict.checks)


class _Progress:
    """Counts checks as they end, and tells at once of those that did not pass."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self._ended = 0

    def __call__(self, check: Check) -> None:
        self._ended += 1
        self._show(f"{self._ended} checks ended; last: {check.area}")
        if check.outcome != "passed":
            line = f"{check.outcome}: {check.area}: {check.invariant} [{check.subject}]"
            _errors.print(line, style="red", highlight=False, markup=False, soft_wrap=True)


def _print(evidence: "Evidence", target: Path) -> None:
    from llmaas.evidence.judgement import STATES, count_states  # noqa: PLC0415 - as in _make

    table = Table("framework", *STATES, title=f"evidence of {evidence.platform.environment}")
    for framework in evidence.control_map.frameworks:
        counts = count_states(each for each in evidence.judged if each.framework.id == framework.id)
        table.add_row(framework.title, *(str(counts[state]) for state in STATES))
    totals = count_states(evidence.judged)
    table.add_row("all", *(str(totals[state]) for state in STATES), style="bold")
    Console().print(table)
    for text in (*evidence.differences, *filter(None, [evidence.verdict.problem])):
        _errors.print(text, style="red", highlight=False, markup=False, soft_wrap=True)
    print(f"{target}: read report.html or report.pdf")
    print(f"Next: llmaas evidence verify {target}")


@app.command()
def verify(
    folder: Annotated[Path, typer.Argument(help="a folder of evidence")],
    *,
    key: Keys = None,
) -> None:
    """Verify a folder offline; exit code 1 and a line for every file that was altered, is missing or was added."""
    try:
        found = verify_folder(folder, [path.read_bytes() for path in key or ()])
    except OSError as error:
        raise _fail(f"--key {error.filename}: {error.strerror}", 2) from error
    except KeyFormatError as error:
        raise _fail(f"--key: {error}", 2) from error
    for problem in found.problems:
        _errors.print(problem, style="red", highlight=False, markup=False, soft_wrap=True)
    if not found.holds:
        print(f"{folder}: DOES NOT HOLD: {len(found.problems)} problems")
        raise typer.Exit(1)
    print(f"{folder}: holds: {found.files} files of {found.environment}, checked until {found.ended}, key {found.key}")
    if not key:
        print("note: who signed was not checked; give --key with the public key that the operator has published")


@app.command()
def key(*, environment: Environment) -> None:
    """Print the public key of an environment's evidence, made if there is none; publish it apart from the evidence."""
    print(Signer.from_secret(SecretStore.open(environment).text(EVIDENCE_KEY), EVIDENCE).public_pem(), end="")
