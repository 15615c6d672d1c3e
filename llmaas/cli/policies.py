"""``llmaas policies``: the rules that guard preview, for people."""

from pathlib import Path
from typing import Annotated

import typer
from llmaas_policies.documentation import markdown
from llmaas_policies.pack import RULES

from llmaas.paths import PROJECT_ROOT

DOCUMENT = PROJECT_ROOT / "docs" / "policies.md"

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)


@app.command("list")
def list_rules() -> None:
    """Name, severity and description of every rule."""
    for rule in RULES:
        print(f"{rule.name:<42}{rule.severity:<10}{rule.description}")


@app.command()
def document(
    *, check: Annotated[bool, typer.Option("--check", help="Only say whether docs/policies.md is up to date.")] = False
) -> None:
    """Write docs/policies.md from the rules."""
    text = markdown(RULES)
    if check:
        if not DOCUMENT.exists() or DOCUMENT.read_text(encoding="utf-8") != text:
            typer.echo("docs/policies.md is not what the rules say; run `llmaas policies document`", err=True)
            raise typer.Exit(1)
        return
    DOCUMENT.write_text(text, encoding="utf-8")
    print(f"wrote {DOCUMENT.relative_to(PROJECT_ROOT)}: {len(RULES)} rules")


@app.command("try")
def try_files(files: Annotated[list[Path], typer.Argument(help="Trials, as tests/fixtures/README.md says.")]) -> None:
    """Say what preview refuses of an environment with one thing changed; exit code 2 when it refuses."""
    from llmaas.preview.trials import TrialError, judge, read_trial  # noqa: PLC0415 - Pulumi is slow to import

    refused = False
    for path in files:
        try:
            trial = read_trial(path)
            found = judge(trial)
        except TrialError as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(1) from None
        print(f"{path}: {trial.about}")
        for subject, refusal in found:
            print(f"  {subject}: {refusal}")
        if not found:
            print("  passes")
        refused = refused or bool(found)
    if refused:
        raise typer.Exit(2)
