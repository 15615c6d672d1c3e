"""``llmaas tenant``: who uses the service."""

import typer

from llmaas.admin.client import KeyLimits
from llmaas.cli.administration import (
    AsJson,
    Budget,
    BudgetPeriod,
    Environment,
    Models,
    RequestsPerMinute,
    administration,
    check_period,
    plain,
    print_json,
    print_table,
)

app = typer.Typer(no_args_is_help=True, help=__doc__, pretty_exceptions_enable=False)


@app.command()
def create(  # noqa: PLR0913 - each option of the command is an argument
    name: str,
    *,
    environment: Environment = None,
    model: Models = None,
    requests_per_minute: RequestsPerMinute = None,
    budget_eur: Budget = None,
    budget_period: BudgetPeriod = None,
    as_json: AsJson = False,
) -> None:
    """Make a tenant."""
    check_period(budget_period, "--budget-period")
    limits = KeyLimits(tuple(model or ()), requests_per_minute, budget_eur, budget_period)
    with administration(environment) as client:
        tenant = client.create_tenant(name, limits)
    if as_json:
        print_json(plain(tenant))
    else:
        print(f"tenant {tenant.name} made; give it a key with: llmaas key create --tenant {tenant.name}")


@app.command("list")
def list_(*, environment: Environment = None, as_json: AsJson = False) -> None:
    """All tenants."""
    with administration(environment) as client:
        tenants = client.tenants()
    if as_json:
        print_json([plain(tenant) for tenant in tenants])
        return
    columns = ("tenant", "models", "requests/min", "budget €", "spent €")
    print_table(
        columns,
        ((t.name, t.models or "all", t.requests_per_minute, t.budget_eur, f"{t.spend_eur:.6f}") for t in tenants),
    )
