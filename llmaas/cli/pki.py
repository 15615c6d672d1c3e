"""``llmaas pki``: the certificates of an environment, issued before they are deployed."""

import typer

from llmaas.cli.options import Environment
from llmaas.materials import issue_certificates
from llmaas.pki import open_authority
from llmaas.settings import load_platform
from llmaas.views.leaves import leaf_requests

app = typer.Typer(help="The certificates of an environment.", no_args_is_help=True)


@app.command()
def ensure(environment: Environment) -> None:
    """Make the authority and every certificate that the cluster's parts need; those still in force are kept."""
    platform = load_platform(environment)
    authority = issue_certificates(platform)
    print(f"{len(leaf_requests(platform))} certificates in force, root: {authority.root}")
    print(f"Next: pulumi up -s {environment}")


@app.command("list")
def list_leaves(environment: Environment) -> None:
    """Print each certificate's name, its last day and the names it answers to."""
    leaves = open_authority(environment).leaves()
    width = max((len(leaf.name) for leaf in leaves), default=0)
    for leaf in leaves:
        subject = leaf.subject()
        names = [*sorted(subject.dns), *sorted(str(address) for address in subject.addresses)]
        print(f"{leaf.name:<{width}}  until {leaf.parsed().not_valid_after_utc:%Y-%m-%d}  {', '.join(names)}")
