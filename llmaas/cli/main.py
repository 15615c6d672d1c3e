"""Entry point of ``llmaas``: finds the module of the subject that was asked for and imports only that one.

The command line is used by scripts and by people in a hurry; importing Pulumi, OR-tools and Ansible for
``llmaas lab env`` would cost seconds.
"""

import importlib
import sys
from typing import Final

import typer

# subject -> (module whose ``app`` is a typer.Typer, one line of help)
SUBJECTS: Final[dict[str, tuple[str, str]]] = {
    "key": ("llmaas.cli.key", "what tenants call the API with: create, list, rotate, revoke"),
    "tenant": ("llmaas.cli.tenant", "who uses the service: tiers, credit, suspension, export, erasure"),
    "usage": ("llmaas.cli.usage", "who used what, when and for how much"),
    "invoice": ("llmaas.cli.invoice", "what a tenant has to pay for a month, and the replay of it"),
    "reconcile": ("llmaas.cli.reconcile", "do counters, records, invoices and LiteLLM's own spend agree"),
    "audit": ("llmaas.cli.audit", "what was done and called: export, and verification offline"),
    "verify": ("llmaas.cli.verify", "is the environment what its stack file says: one verdict"),
    "decommission": ("llmaas.cli.decommission", "a host leaves: disks erased, and a certificate that says so"),
    "doctor": ("llmaas.cli.doctor", "can this machine carry the lab"),
    "evidence": ("llmaas.cli.evidence", "what an auditor is given: made, signed, verified anywhere"),
    "flows": ("llmaas.cli.flows", "every connection that hosts and pods may open, and why"),
    "hardening": ("llmaas.cli.hardening", "what OpenSCAP says of hosts, and which exceptions are granted"),
    "images": ("llmaas.cli.images", "the container images: built here, pushed, locked by digest"),
    "catalogue": ("llmaas.cli.catalogue", "the models that tenants see, on any day, and what was promised of them"),
    "lab": ("llmaas.cli.lab", "the whole platform on this machine: hosts, site, up, down"),
    "plan": ("llmaas.cli.plan", "does the catalogue fit the hosts, and what survives the loss of one"),
    "pki": ("llmaas.cli.pki", "the certificates of an environment"),
    "policies": ("llmaas.cli.policies", "the rules that guard preview"),
    "preview": ("llmaas.cli.preview", "what preview refuses, without a cluster: plan, promises, prices, policies"),
    "price": ("llmaas.cli.price", "what a call costs, before it is sent"),
    "prices": ("llmaas.cli.prices", "the price book against what was recorded of it"),
    "secrets": ("llmaas.cli.secrets", "the secrets of an environment, by name"),
}


def _usage() -> str:
    width = max((len(name) for name in SUBJECTS), default=0)
    lines = [f"  {name:<{width}}  {text}" for name, (_, text) in sorted(SUBJECTS.items())]
    return "\n".join(["Usage: llmaas SUBJECT [--help] ...", "", "Subjects:", *lines])


def main() -> None:
    """Run the command line; exit code 2 for a subject that does not exist."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in {"--help", "-h", "help"}:
        print(_usage())
        return
    subject, *rest = arguments
    if subject not in SUBJECTS:
        print(f"llmaas: no subject {subject!r}\n\n{_usage()}", file=sys.stderr)
        raise SystemExit(2)
    module, _ = SUBJECTS[subject]
    app: typer.Typer = importlib.import_module(module).app
    app(args=rest, prog_name=f"llmaas {subject}")


if __name__ == "__main__":
    main()
