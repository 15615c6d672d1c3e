"""``llmaas reconcile``: do Redis, records, invoices and LiteLLM's own spend agree; every difference is named."""

import typer

from llmaas.cli.administration import AsJson, Reached, administration, print_json

app = typer.Typer(add_completion=False)


@app.command(help=__doc__)
def reconcile(*, environment: Reached = None, as_json: AsJson = False) -> None:
    """Compare; exit code 1 if anything differs."""
    with administration(environment) as client:
        answer = client.with_gateway().reconcile()
    if as_json:
        print_json(answer)
    else:
        compared = ", ".join(f"{name} {count}" for name, count in answer["compared"].items())
        print(f"compared: {compared}; {len(answer['findings'])} differences")
        for finding in answer["findings"]:
            typer.echo(f"{finding['check']}: {finding['subject']}: {finding['message']}", err=True)
        if answer["swept"]:
            print(f"{answer['swept']} rows of LiteLLM's still held personal data of erased tenants; removed")
    raise typer.Exit(1 if answer["findings"] else 0)
