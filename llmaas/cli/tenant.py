"""``llmaas tenant``: who uses the service, what they bought, and what is held on them."""

import secrets
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from llmaas.admin import AdminError
from llmaas.admin.client import KeyLimits
from llmaas.admin.gateway import Answer
from llmaas.cli.administration import (
    AsJson,
    Budget,
    BudgetPeriod,
    Models,
    Reached,
    RequestsPerMinute,
    administration,
    check_amount,
    check_budget_period,
    plain,
    print_json,
    print_table,
)

app = typer.Typer(no_args_is_help=True, help=__doc__, pretty_exceptions_enable=False)

Name = Annotated[str, typer.Argument(help="the tenant's name or identifier")]


@app.command()
def create(  # noqa: PLR0913 - each option of the command is an argument
    name: str,
    *,
    tier: Annotated[str | None, typer.Option(help="what it buys, such as T1")] = None,
    first_payment_eur: Annotated[
        str | None, typer.Option(help="credit to begin with; without it what the tier costs")
    ] = None,
    environment: Reached = None,
    model: Models = None,
    requests_per_minute: RequestsPerMinute = None,
    budget_eur: Budget = None,
    budget_period: BudgetPeriod = None,
    as_json: AsJson = False,
) -> None:
    """Make a tenant; besides what its tier allows it may have a budget for each calendar month."""
    check_amount(budget_eur, "--budget-eur")
    check_amount(first_payment_eur, "--first-payment-eur")
    check_budget_period(budget_period, "--budget-period", budget_eur)
    limits = KeyLimits(tuple(model or ()), requests_per_minute, budget_eur, budget_period)
    with administration(environment) as client:
        tenant = client.create_tenant(name, limits, tier=tier, first_payment_eur=first_payment_eur)
    if as_json:
        print_json(plain(tenant))
    else:
        print(f"tenant {tenant.name} made; give it a key with: llmaas key create --tenant {tenant.name}")


@app.command("list")
def list_(*, environment: Reached = None, as_json: AsJson = False) -> None:
    """All tenants."""
    with administration(environment) as client:
        tenants = client.tenants()
        tiers = client.gateway is not None
    if as_json:
        print_json([plain(tenant) for tenant in tenants])
    elif tiers:
        print_table(
            ("tenant", "identifier", "tier", "state", "credit left €", "spent this month €", "budget €"),
            ((t.name, t.id, t.tier, t.state, t.credit_left_eur, t.spend_eur, t.budget_eur) for t in tenants),
        )
    else:
        print_table(
            ("tenant", "models", "requests/min", "budget €", "spent €"),
            ((t.name, t.models or "all", t.requests_per_minute, t.budget_eur, f"{t.spend_eur:.6f}") for t in tenants),
        )


@app.command("set-tier")
def set_tier(
    tenant: Name,
    tier: Annotated[str, typer.Argument(help="such as T2")],
    *,
    environment: Reached = None,
    as_json: AsJson = False,
) -> None:
    """Give a tenant another tier from now on; its credit and what it used in this hour, day and month stay."""
    with administration(environment) as client:
        told(client.with_gateway().set_tier(tenant, tier), f"tier is now {tier}", as_json=as_json)


@app.command("set-budget")
def set_budget(
    tenant: Name,
    amount_eur: Annotated[
        str | None, typer.Argument(help="euros, such as 500; without it what its tier allows", show_default=False)
    ] = None,
    *,
    environment: Reached = None,
    as_json: AsJson = False,
) -> None:
    """Limit what a tenant spends in each calendar month, this one included, below what its tier allows."""
    check_amount(amount_eur, "AMOUNT_EUR")
    with administration(environment) as client:
        text = "has no budget of its own" if amount_eur is None else f"may spend {amount_eur} € in a calendar month"
        told(client.with_gateway().set_budget(tenant, amount_eur), text, as_json=as_json)


@app.command()
def suspend(tenant: Name, *, environment: Reached = None, as_json: AsJson = False) -> None:
    """Refuse a tenant's calls at every replica, within seconds."""
    with administration(environment) as client:
        told(client.with_gateway().suspend(tenant), "suspended", as_json=as_json)


@app.command()
def resume(tenant: Name, *, environment: Reached = None, as_json: AsJson = False) -> None:
    """Admit a suspended tenant's calls again."""
    with administration(environment) as client:
        told(client.with_gateway().resume(tenant), "active", as_json=as_json)


@app.command("top-up")
def top_up(
    tenant: Name,
    amount_eur: Annotated[str, typer.Argument(help="euros that were paid, such as 200 or 49.90")],
    *,
    reference: Annotated[
        str | None, typer.Option(help="names the payment: booked once, however often it is sent; no personal data")
    ] = None,
    environment: Reached = None,
    as_json: AsJson = False,
) -> None:
    """Add credit to a tenant."""
    check_amount(amount_eur, "AMOUNT_EUR")
    chosen = _named(reference)
    repeat = ["llmaas", "tenant", "top-up", tenant, amount_eur, "--reference", chosen]
    repeat += [] if environment is None else ["--environment", environment]
    with administration(environment) as client:
        gateway = client.with_gateway()
        # Before it is sent: whoever gets no answer must name the same payment again.
        typer.echo(f"booking {amount_eur} € as {chosen}", err=True)
        try:
            answer = gateway.top_up(tenant, amount_eur, chosen)
        except AdminError as error:
            again = f"payment {chosen} may be booked; this books it once, however often: {shlex.join(repeat)}"
            raise AdminError(f"{error}\n{again}") from error
        before = answer.get("booked_before")
        done = f"booked already on {before[:10]} as {chosen}, nothing added" if before else f"booked as {chosen}"
        told(answer, f"{amount_eur} € {done}, {answer['credit_left_eur']} € left", as_json=as_json)


@app.command()
def payments(tenant: Name, *, environment: Reached = None, as_json: AsJson = False) -> None:
    """What a tenant paid in advance, and what of it was taken back."""
    with administration(environment) as client:
        booked = client.with_gateway().payments(tenant)
    if as_json:
        print_json(booked)
    else:
        rows = ((p["at"][:10], p["reference"], p["amount_eur"], p["takes_back"]) for p in booked)
        print_table(("day", "reference", "amount €", "takes back"), rows)


@app.command("take-back")
def take_back(
    tenant: Name,
    payment: Annotated[str, typer.Argument(help="its reference, as it was booked")],
    *,
    reference: Annotated[
        str | None, typer.Option(help="names this act, such as a bank's notice; no personal data")
    ] = None,
    environment: Reached = None,
    as_json: AsJson = False,
) -> None:
    """Take a payment's credit away again: it was booked by mistake, or a bank took the money back."""
    with administration(environment) as client:
        answer = client.with_gateway().take_back(tenant, payment, _named(reference))
    before = answer.get("taken_back_before")
    done = f"was taken back already on {before[:10]}, nothing done" if before else "taken back"
    told(answer, f"payment {payment} {done}, {answer['credit_left_eur']} € left", as_json=as_json)


@app.command("add-team")
def add_team(  # noqa: PLR0913 - each option of the command is an argument
    tenant: Name,
    name: Annotated[str, typer.Argument(help="the team's name")],
    *,
    model: Models = None,
    budget_eur: Budget = None,
    budget_period: BudgetPeriod = None,
    environment: Reached = None,
    as_json: AsJson = False,
) -> None:
    """Give a tenant a further team, with models and a budget of its own; keys name it with --team."""
    check_amount(budget_eur, "--budget-eur")
    check_budget_period(budget_period, "--budget-period", budget_eur)
    body: dict[str, Any] = {"name": name, **KeyLimits(tuple(model or ()), None, budget_eur, budget_period).order()}
    with administration(environment) as client:
        answer = client.with_gateway().create_team(tenant, body)
    if as_json:
        print_json(answer)
    else:
        print(f"team {name} of {tenant} made: llmaas key create --tenant {tenant} --team {answer['team']}")


@app.command()
def export(
    tenant: Name,
    *,
    into: Annotated[Path, typer.Option(help="the file to write; must not be there")],
    environment: Reached = None,
) -> None:
    """Write everything that is held on a tenant as JSON: itself, payments, keys, records, invoices, audit."""
    with administration(environment) as client:
        client.with_gateway().export(tenant, into)
    print(f"everything on {tenant} is in {into}")


@app.command()
def erase(
    tenant: Name,
    *,
    confirm: Annotated[str, typer.Option(help="the tenant's name again: there is no way back")],
    environment: Reached = None,
    as_json: AsJson = False,
) -> None:
    """Remove a tenant's personal data for good, names and keys; its accounts stay under its identifier."""
    with administration(environment) as client:
        answer = client.with_gateway().erase(tenant, confirm)
    if as_json:
        print_json(answer)
    else:
        print(f"erased; the accounts stay under {answer['tenant']}")


def _named(reference: str | None) -> str:
    """The reference that was given, or one that nothing has yet."""
    return reference or f"llmaas-{secrets.token_hex(8)}"


def told(answer: Answer, text: str, *, as_json: bool) -> None:
    """The tenant as it is now, or what was done."""
    if as_json:
        print_json(answer)
    else:
        print(f"tenant {answer['name']}: {text}")
