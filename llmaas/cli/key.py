"""``llmaas key``: what tenants call the API with."""

import secrets
from typing import Annotated

import typer

from llmaas.admin import AdminError
from llmaas.admin.client import KeyLimits
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
    check_period,
    plain,
    print_json,
    print_table,
)

app = typer.Typer(no_args_is_help=True, help=__doc__, pretty_exceptions_enable=False)

TenantName = Annotated[str, typer.Option("--tenant", help="the tenant's name")]


@app.command()
def create(  # noqa: PLR0913 - each option of the command is an argument
    *,
    tenant: TenantName,
    name: Annotated[str | None, typer.Option(help="what it is called in lists; made up without it")] = None,
    team: Annotated[str | None, typer.Option(help="one of the tenant's teams; its first without it")] = None,
    environment: Reached = None,
    model: Models = None,
    expires: Annotated[str | None, typer.Option(help="after which time it ends, such as 90d; never without it")] = None,
    requests_per_minute: RequestsPerMinute = None,
    budget_eur: Budget = None,
    budget_period: BudgetPeriod = None,
    as_json: AsJson = False,
) -> None:
    """Make a key; its text is shown this once and stored nowhere."""
    check_amount(budget_eur, "--budget-eur")
    check_budget_period(budget_period, "--budget-period", budget_eur)
    check_period(expires, "--expires")
    limits = KeyLimits(tuple(model or ()), requests_per_minute, budget_eur, budget_period)
    with administration(environment) as client:
        chosen = name or f"{tenant}-{secrets.token_hex(4)}"
        made = client.create_key(client.tenant(tenant), chosen, limits, expires, team)
    if as_json:
        print_json({"key": made.key, **plain(made.record)})
    else:
        print(made.key)
        typer.echo(f"key {made.record.name} of tenant {tenant}: shown once, keep it now", err=True)


@app.command("list")
def list_(
    *,
    tenant: Annotated[str | None, typer.Option(help="only this tenant's")] = None,
    environment: Reached = None,
    as_json: AsJson = False,
) -> None:
    """All keys, or those of one tenant; never their texts."""
    with administration(environment) as client:
        keys = client.list_keys(client.tenant(tenant) if tenant else None)
        names = {} if as_json else {found.id: found.name for found in client.tenants()}
    if as_json:
        print_json([plain(key) for key in keys])
        return
    columns = ("key", "tenant", "models", "ends", "requests/min", "budget €", "spent €")
    rows = (
        (
            key.name,
            names.get(key.tenant_id),
            key.models or "all of the tenant's",
            key.expires,
            key.requests_per_minute,
            key.budget_eur,
            f"{key.spend_eur:.6f}",
        )
        for key in keys
    )
    print_table(columns, rows)


@app.command()
def rotate(
    key: Annotated[str, typer.Argument(help="the key's name, or its id from the list")],
    *,
    environment: Reached = None,
    as_json: AsJson = False,
) -> None:
    """Make a new key in place of another, with the same rights, end and budget; the old one is useless at once."""
    with administration(environment) as client:
        made = client.rotate_key(key)
    if as_json:
        print_json({"key": made.key, **plain(made.record)})
    else:
        print(made.key)
        typer.echo(f"key {made.record.name} in place of {key}: shown once, keep it now", err=True)


@app.command()
def revoke(
    key: Annotated[str, typer.Argument(help="the key's name, or its id from the list")],
    *,
    environment: Reached = None,
    as_json: AsJson = False,
) -> None:
    """Make a key useless for good."""
    with administration(environment) as client:
        found = [record for record in client.list_keys() if key in {record.name, record.id}]
        if not found:
            raise AdminError(f"there is no key {key!r}; see: llmaas key list")
        client.revoke_key(found[0])
    if as_json:
        print_json(plain(found[0]))
    else:
        print(f"key {found[0].name} revoked")
