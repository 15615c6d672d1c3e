"""``llmaas pki``: the certificates of an environment, issued before they are deployed."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

from llmaas.cli.options import Environment
from llmaas.materials import (
    RECEIVER_LEAF,
    SITE_LEAF,
    MaterialError,
    issue_certificates,
    issue_receiver_certificate,
    issue_site_certificate,
)
from llmaas.pki import Authority, Leaf, PkiError, open_authority
from llmaas.settings import SettingsError, load_platform
from llmaas.views.leaves import leaf_requests
from llmaas.views.site import site_names

app = typer.Typer(help="The certificates of an environment.", no_args_is_help=True)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except (SettingsError, PkiError, MaterialError) as error:
        print(error, file=sys.stderr)
        raise typer.Exit(1) from None


@app.command()
def ensure(environment: Environment) -> None:
    """Make the authority and every certificate that the cluster's parts need; those still in force are kept."""
    with _told():
        platform = load_platform(environment)
        authority = issue_certificates(platform)
    _note(authority)
    print(f"{len(leaf_requests(platform))} certificates in force, root: {authority.root}")
    print(f"That of the site's own mirror, store and registry: llmaas pki site -e {environment}")
    print(f"Next: pulumi up -s {environment}")


@app.command()
def site(environment: Environment) -> None:
    """Make the certificate of the site's package mirror, artefact store and registry; one still in force is kept."""
    with _told():
        platform = load_platform(environment)
        names, address = site_names(platform), str(platform.site.address)
        _issued(environment, SITE_LEAF, lambda: issue_site_certificate(environment, names, address))
    print("Hosts and builds accept no other authority's. In its last month a new one is issued: copy that too.")
    print(
        f"Next: copy both to {platform.site.address}; let package mirror, artefact store and registry serve TLS 1.3"
        " with them, and reload them"
    )


@app.command("alert-receiver")
def alert_receiver(environment: Environment) -> None:
    """Make the certificate of the site's Alertmanager, if no other authority does; one still in force is kept."""
    with _told():
        receiver = load_platform(environment).alert_receiver
        if receiver is None:
            raise MaterialError("llmaas:alerts is missing: there is no receiver to make a certificate for; declare it")
        if receiver.authority is not None:
            raise MaterialError(
                f"llmaas:alerts.receiver.authority: {receiver.authority} is another authority's, which issues the"
                " certificate; leave the key away to have it from the environment's own"
            )
        authority = _issued(environment, RECEIVER_LEAF, lambda: issue_receiver_certificate(environment, receiver))
    print(f"callers      {authority.root} vouches for them: Prometheus shows a certificate too")
    print(
        f"Next: copy all three to {receiver.address}; let Alertmanager serve TLS 1.3 with them at port {receiver.port},"
        " and ask for the certificate of whoever calls"
    )


@app.command("list")
def list_leaves(environment: Environment) -> None:
    """Print each certificate's name, its last day and the names it answers to."""
    with _told():
        authority = open_authority(environment)
        _note(authority)
        leaves = authority.leaves()
    width = max((len(leaf.name) for leaf in leaves), default=0)
    for leaf in leaves:
        print(f"{leaf.name:<{width}}  until {_last_day(leaf)}  {_names(leaf)}")


def _issued(environment: str, name: str, issue: Callable[[], Leaf]) -> Authority:
    """Issue a certificate, or keep that in force, and say which and where it lies; the authority that did."""
    authority = open_authority(environment)
    _note(authority)
    before = {leaf.name: leaf.certificate.read_bytes() for leaf in authority.leaves()}
    leaf = issue()
    kept = leaf.certificate.read_bytes() == before.get(name)
    print(f"{'kept' if kept else 'issued now'}: for {_names(leaf)}, until {_last_day(leaf)}")
    print(f"certificate  {leaf.certificate}, the issuing authority behind it")
    print(f"key          {leaf.key}, for its owner alone")
    return authority


def _note(authority: Authority) -> None:
    """Tell that the issuing authority nears its end, beside what the command prints for programs."""
    if authority.notice:
        print(f"note: {authority.notice}", file=sys.stderr)


def _names(leaf: Leaf) -> str:
    subject = leaf.subject()
    return ", ".join([*sorted(subject.dns), *sorted(str(address) for address in subject.addresses)])


def _last_day(leaf: Leaf) -> str:
    return f"{leaf.parsed().not_valid_after_utc:%Y-%m-%d}"
