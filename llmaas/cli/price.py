"""``llmaas price``: what a text costs, before it is sent."""

import hashlib
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from llmaas_gateway.charging import Usage, charge, estimate_tokens
from llmaas_gateway.money import format_euros
from llmaas_gateway.price_file import load_price_book
from llmaas_gateway.prices import PriceError, Unit
from llmaas_gateway.proxy.counting import tokenizer
from llmaas_gateway.proxy.settings import SettingsError as TokenizerError
from rich.console import Console
from rich.table import Table

from llmaas.cli.options import Environment
from llmaas.paths import PROJECT_ROOT, artefact_folder
from llmaas.settings import Model, Platform, SettingsError, load_platform
from llmaas.settings.recorded import file_digests
from llmaas.views.topology import TOKENIZER_FILE

PRICES = PROJECT_ROOT / "stacks" / "prices.yaml"

app = typer.Typer(add_completion=False)


@app.command()
def price(  # noqa: PLR0913, PLR0917 - each is an option
    text: Annotated[str, typer.Argument(help="The prompt.")],
    model: Annotated[str, typer.Option(help="Name of the model.")],
    output_tokens: Annotated[int, typer.Option(min=0, help="Tokens that the answer may have.")] = 0,
    at: Annotated[str | None, typer.Option(help="Moment of the call, with offset; now if not given.")] = None,
    environment: Environment = "lab",
    file: Annotated[
        Path | None,
        typer.Option(
            "--tokenizer",
            exists=True,
            dir_okay=False,
            help="The model's tokenizer.json, where it lies nowhere else here.",
        ),
    ] = None,
) -> None:
    """Tell the cost of a call: its prompt by the model's tokenizer where that is here, and the output that you name."""
    moment = _moment(at)
    try:
        platform = load_platform(environment)
    except SettingsError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(1) from None
    found = _model(platform, model)
    try:
        count, how = _tokens(platform, found, text, file)
        usage = Usage({Unit.INPUT: count, Unit.OUTPUT: output_tokens})
        if found.only_embeds:
            usage = Usage({Unit.EMBEDDING: count})
        result = charge(load_price_book(PRICES), model, usage, moment)
    except (PriceError, SettingsError, TokenizerError) as error:
        print(error, file=sys.stderr)
        raise typer.Exit(2) from None
    table = Table(title=f"Estimate for {model}")
    for name in ("unit", "count", "euros per unit", "price entry"):
        table.add_column(name, justify="right" if name in {"count", "euros per unit"} else "left")
    for line in result.lines:
        table.add_row(line.unit, str(line.count), format_euros(line.nano_eur_per_unit), line.price_id)
    Console().print(table)
    print(how)
    print(f"{format_euros(result.nano_eur)} EUR")


def _moment(at: str | None) -> datetime:
    example = "write e.g. 2026-08-01T00:00:00+02:00"
    try:
        moment = datetime.fromisoformat(at) if at else datetime.now(UTC)
    except ValueError:
        raise typer.BadParameter(f"{at!r} is no moment; {example}", param_hint="--at") from None
    if moment.tzinfo is None:
        raise typer.BadParameter(f"{at!r} has no offset; {example}", param_hint="--at")
    return moment


def _model(platform: Platform, name: str) -> Model:
    known = {model.name: model for model in platform.models if model.phase != "removed"}
    if name not in known:
        text = f"{platform.environment} has no model {name!r}; it has {', '.join(sorted(known))}"
        raise typer.BadParameter(text, param_hint="--model")
    return known[name]


def _tokens(platform: Platform, model: Model, text: str, file: Path | None) -> tuple[int, str]:
    """How many tokens a text has, and how that is known.

    Raises:
        TokenizerError: the tokenizer is none, or another than the manifest declares.
        SettingsError: a line of the manifest cannot be read.
    """
    declared = (file_digests(platform, model.artefact) or {}).get(TOKENIZER_FILE)
    path = file or artefact_folder(model.artefact) / TOKENIZER_FILE
    if file is None and declared is None:
        return estimate_tokens(
            text
        ), f"Input estimated, a quarter of its characters: no manifest here names a tokenizer of {model.artefact}."
    if file is None and not path.is_file():
        return estimate_tokens(text), f"Input estimated, a quarter of its characters: there is no {path}."
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if declared not in {None, found}:
        raise TokenizerError(f"{path}: SHA-256 is {found}; the manifest of {model.artefact} declares {declared}")
    return tokenizer(path, None)(text), f"Input counted with {path}, without what the chat template adds."
