"""Where data lies and how long: in the one declared country of the Union, within what the law allows."""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from llmaas_policies.model import Parameters, Resource, Severity, Subject, Violation
from llmaas_policies.rules.network import is_inside

subject = Subject()

_EUROPEAN_UNION: Final = frozenset(
    [
        "AT",
        "BE",
        "BG",
        "CY",
        "CZ",
        "DE",
        "DK",
        "EE",
        "ES",
        "FI",
        "FR",
        "GR",
        "HR",
        "HU",
        "IE",
        "IT",
        "LT",
        "LU",
        "LV",
        "MT",
        "NL",
        "PL",
        "PT",
        "RO",
        "SE",
        "SI",
        "SK",
    ]
)
_PUBLIC_SERVERS: Final = (
    # registries
    "docker.io", "docker.com", "ghcr.io", "quay.io", "gcr.io", "pkg.dev", "mcr.microsoft.com", "azurecr.io",
    "public.ecr.aws", "registry.k8s.io", "nvcr.io", "nvidia.com",
    # packages, weights and clouds
    "debian.org", "ubuntu.com", "pypi.org", "pythonhosted.org", "github.com", "githubusercontent.com", "gitlab.com",
    "huggingface.co", "hf.co", "hf-mirror.com", "modelscope.cn", "modelscope.ai", "kaggle.com", "amazonaws.com",
    "cloudfront.net", "googleapis.com", "windows.net", "azureedge.net", "cloudflarestorage.com",
)  # fmt: skip
_ADDRESS: Final = re.compile(r"\d+(\.\d+){3}")
_REQUIRED_KINDS: Final = ("host", "registry", "state backend", "backup")

# Days, with where they come from. A stack file may declare narrower bounds, never wider ones.
_LEGAL_BOUNDS: Final = {
    # SecNumCloud 3.2 12.6.c: events are kept for six months at least. CNIL, deliberation 2021-122 of 14 October 2021:
    # between six months and a year for logs, up to three years where they serve internal control.
    "request_metadata": (180, 366, "SecNumCloud 3.2 12.6.c; CNIL 2021-122"),
    "logs": (180, 366, "SecNumCloud 3.2 12.6.c; CNIL 2021-122"),
    "audit": (180, 1096, "SecNumCloud 3.2 12.6.c; CNIL 2021-122 on internal control"),
    # Ten years from the end of the financial year, of which three at most are leap years; no more than a year longer.
    "accounts": (3653, 4018, "Code de commerce L123-22; GDPR art. 5(1)(e)"),
}


@subject.stack_rule(
    "declared-country", "Every host, the registry, the state and the backup lie in the one declared country.",
    Severity.CRITICAL, ("SecNumCloud 3.2 19.2.a", "SecNumCloud 3.2 19.2.b"),
    "Declare the country of each place in the stack file; it must be llmaas:country, a member of the European Union",
)  # fmt: skip
def declared_country(_: Sequence[Resource], parameters: Parameters) -> Iterator[Violation]:
    """What nobody declared, nobody checked; copies count as much as the data itself."""
    if parameters.country not in _EUROPEAN_UNION:
        yield Violation("llmaas:country", f"is {parameters.country}, which is no member of the European Union")
    for place in parameters.places:
        if place.country is None:
            yield Violation(place.path, f"is missing: no country is declared for {place.what}")
        elif place.country != parameters.country:
            yield Violation(place.path, f"is {place.country}: {place.what} lies outside {parameters.country}")
    for kind in _REQUIRED_KINDS:
        if not any(place.what.startswith(kind) for place in parameters.places):
            yield Violation(f"llmaas:{kind.split()[0]}", f"is missing: no country is declared for the {kind}")


@subject.stack_rule(
    "services-of-this-site", "Registry, packages, weights and time come from the site's own servers, no public ones.",
    Severity.HIGH, ("SecNumCloud 3.2 19.2.a", "SecNumCloud 3.2 12.10.a"),
    "Name the site's own servers at llmaas:site",
)  # fmt: skip
def services_of_this_site(_: Sequence[Resource], parameters: Parameters) -> Iterator[Violation]:
    """A public server is run by somebody else, mostly in another country, and tells him what runs here."""
    for path, host in parameters.services.items():
        name = host.lower().rstrip(".")
        if any(name == public or name.endswith(f".{public}") for public in _PUBLIC_SERVERS):
            yield Violation(path, f"is {host}, a public server")
        elif _ADDRESS.fullmatch(name) and not is_inside(name):
            yield Violation(path, f"is {host}, a public address")


@subject.stack_rule(
    "bastions-inside", "Administrators come from addresses that the internet does not know.", Severity.HIGH,
    ("SecNumCloud 3.2 9.6.d", "SecNumCloud 3.2 13.2.a"), "Name bastions inside the site at llmaas:site.bastions",
)  # fmt: skip
def bastions_inside(_: Sequence[Resource], parameters: Parameters) -> Iterator[Violation]:
    """A bastion at a public address is the administration interface on a public network."""
    for index, bastion in enumerate(parameters.bastions):
        if not is_inside(bastion):
            yield Violation(f"llmaas:site.bastions[{index}]", f"is {bastion}, a public address")


@subject.stack_rule(
    "retention-within-legal-bounds", "Records are kept neither shorter nor longer than the declared law asks.",
    Severity.HIGH, ("SecNumCloud 3.2 12.6.c", "GDPR art. 5"),
    "Set days between the declared bounds, and these within those of docs/policies.md, with their source",
)  # fmt: skip
def retention_within_legal_bounds(_: Sequence[Resource], parameters: Parameters) -> Iterator[Violation]:
    """Request metadata and logs: 180 to 366 days; audit: 180 to 1096 days (SecNumCloud 12.6.c and CNIL 2021-122).

    Records of calls and invoices: 3653 to 4018 days from the end of the financial year (Code de commerce L123-22).
    """
    for period in parameters.retention:
        least, most, source = _LEGAL_BOUNDS.get(period.kind, (0, 0, "no source"))
        if not period.source.strip():
            yield Violation(f"{period.path}.source", "is empty; say where the bounds come from")
        if period.least_days < least:
            yield Violation(f"{period.path}.least_days", f"is {period.least_days}; at least {least} ({source})")
        if period.most_days > most:
            yield Violation(f"{period.path}.most_days", f"is {period.most_days}; at most {most} ({source})")
        if not period.least_days <= period.days <= period.most_days:
            bounds = f"{period.least_days} to {period.most_days} days ({period.source})"
            yield Violation(f"{period.path}.days", f"is {period.days}; the declared bounds are {bounds}")
    for kind in sorted(set(_LEGAL_BOUNDS) - {period.kind for period in parameters.retention}):
        yield Violation(f"llmaas:retention.{kind}", "is missing; say how long it is kept")
