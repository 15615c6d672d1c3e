"""For each rule what breaks it: the object of the good environment, the path in it, and the value put there.

The object ``parameters`` is what the rules take from the settings; ``new`` adds an object, ``foreign`` one of a
resource type.
"""

from typing import Any

import cases_cluster
import cases_serving
import cases_workloads
from llmaas_policies.model import Period, Place, Waiver
from objects import PARAMETERS

Case = tuple[str, str, Any]


def _places(country: str | None, index: int = 0) -> list[Place]:
    places = list(PARAMETERS.places)
    places[index] = Place(places[index].path, places[index].what, country)
    return places


def _kept(days: int, least: int = 180, most: int = 366, source: str = "a law") -> list[Period]:
    others = [each for each in PARAMETERS.retention if each.kind != "logs"]
    return [Period("llmaas:retention.logs", "logs", days, least, most, source), *others]


def _accounts_kept(days: int, least: int = 3653, most: int = 4018) -> list[Period]:
    return [*PARAMETERS.retention[:3], Period("llmaas:retention.accounts", "accounts", days, least, most, "a law")]


def _waiver(**changes: str) -> Case:
    good = {"rule": "no-host-path", "resource": "Deployment gateway/litellm", "reason": "why", "expires": "2026-12-31"}
    return ("parameters", "waivers", [Waiver(**{**good, **changes})])


_FROM_SETTINGS: dict[str, list[Case]] = {
    "declared-country": [
        ("parameters", "country", "US"),
        *(("parameters", "places", _places("US", index)) for index in range(4)),
        ("parameters", "places", _places(None)),
        *(
            ("parameters", "places", [*PARAMETERS.places[:index], *PARAMETERS.places[index + 1 :]])
            for index in range(4)
        ),
    ],
    "services-of-this-site": [
        ("parameters", "services", {"llmaas:site.registry": name})
        for name in (
            "docker.io",
            "eu.gcr.io",
            "GHCR.io",
            "ghcr.io.",
            "huggingface.co",
            "8.8.8.8",
            "bucket.s3.amazonaws.com",
        )
    ],
    "bastions-inside": [
        ("parameters", "bastions", ["10.0.0.9", address]) for address in ("8.8.8.8", "169.254.169.254")
    ],
    "retention-within-legal-bounds": [
        ("parameters", "retention", _kept(30)),
        ("parameters", "retention", _kept(3650)),
        ("parameters", "retention", _kept(3650, most=3650)),
        ("parameters", "retention", _kept(30, least=1)),
        ("parameters", "retention", _kept(365, source=" ")),
        ("parameters", "retention", []),
        ("parameters", "retention", PARAMETERS.retention[:3]),
        ("parameters", "retention", _accounts_kept(3652)),
        ("parameters", "retention", _accounts_kept(2192, least=2192)),
        ("parameters", "retention", _accounts_kept(9999, most=9999)),
    ],
    "waiver-in-force": [
        _waiver(expires="2026-11-23"),
        _waiver(expires="2099-01-01"),
        _waiver(expires="soon"),
        _waiver(reason="  "),
        _waiver(rule="no-such-rule"),
        _waiver(rule="no-plain-secret"),
        _waiver(resource="Deployment gateway/*"),
    ],
}

BAD: dict[str, list[Case]] = {
    **cases_workloads.BAD,
    **cases_cluster.BAD,
    **cases_serving.BAD,
    **_FROM_SETTINGS,
}

UNKNOWN_AT_PREVIEW: dict[str, Case] = {
    **cases_workloads.UNKNOWN_AT_PREVIEW,
    **cases_cluster.UNKNOWN_AT_PREVIEW,
    **cases_serving.UNKNOWN_AT_PREVIEW,
    # Settings are all known at preview; what is not there is what nobody knows.
    "declared-country": ("parameters", "places", _places(None)),
    "services-of-this-site": ("parameters", "services", {"llmaas:site.registry": "docker.io"}),
    "bastions-inside": ("parameters", "bastions", ["not an address"]),
    "retention-within-legal-bounds": ("parameters", "retention", []),
    "waiver-in-force": _waiver(resource="Deployment gateway/not-known"),
}
