"""The report that people read: HTML with pictures, and the PDF made from it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import jinja2
from markupsafe import Markup

from llmaas.evidence.assembly import Evidence
from llmaas.evidence.existing import existing_checks, without_name
from llmaas.evidence.judgement import STATES, count_states
from llmaas.planning.drawing import picture
from llmaas.planning.plan import make_plan
from llmaas.settings import Platform
from llmaas.views.zone_drawing import zone_picture

_TEMPLATES: Final = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    undefined=jinja2.StrictUndefined,
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
)


def fleet_picture(platform: Platform) -> str | None:
    """SVG of the fleet and what is placed on it; None when the catalogue does not fit."""
    plan = make_plan(platform)
    return picture(plan) if plan.fits else None


def simulated_gpus(platform: Platform) -> tuple[int, int]:
    """How many GPUs are declared, and how many of them are simulated."""
    gpus = [host.gpus for host in platform.hosts if host.gpus is not None]
    return sum(each.count for each in gpus), sum(each.count for each in gpus if each.kind == "simulated")


def html_report(evidence: Evidence) -> str:
    """The whole report as one file, pictures included; every time stands in a ``time`` element."""
    fleet = fleet_picture(evidence.platform)
    judged_hosts = {each.host for each in evidence.judgements}
    declared, simulated = simulated_gpus(evidence.platform)
    named = [*evidence.control_map.checks, *(entry.check for entry in evidence.control_map.unmapped)]
    return _TEMPLATES.get_template("report.html.j2").render(
        environment=evidence.platform.environment,
        country=evidence.platform.country,
        verdict=evidence.verdict,
        states=STATES,
        totals=count_states(evidence.judged),
        frameworks=[
            (framework, [each for each in evidence.judged if each.framework.id == framework.id])
            for framework in evidence.control_map.frameworks
        ],
        count_states=count_states,
        proofs=evidence.control_map.proofs,
        results=evidence.results,
        others=evidence.others,
        unmapped=evidence.control_map.unmapped,
        unknown=without_name(existing_checks(), named),
        inputs=evidence.inputs,
        source=evidence.source,
        key=evidence.key,
        map_date=evidence.control_map.date,
        fleet=Markup(fleet) if fleet else "",  # noqa: S704 - drawn here, with every text escaped
        zones=Markup(zone_picture(evidence.platform)),  # noqa: S704 - as above
        gpus=declared,
        simulated=simulated,
        judgements=evidence.judgements,
        exemptions=evidence.exemptions,
        differences=evidence.differences,
        not_judged=[each.name for each in evidence.platform.machines if each.name not in judged_hosts],
    )


def pdf_report(html: str, evidence: Evidence) -> bytes:
    """The report as PDF; the same report gives the same bytes."""
    from weasyprint import HTML  # noqa: PLC0415 - a second to import, and only who writes evidence needs it

    with _epoch(int(evidence.ended.timestamp())):
        content = HTML(string=html).write_pdf(pdf_identifier=evidence.platform.environment.encode())
    return bytes(content)


@contextmanager
def _epoch(seconds: int) -> Iterator[None]:
    """Fonts that are cut to what is used bear the time of ``SOURCE_DATE_EPOCH`` instead of now."""
    before = os.environ.get("SOURCE_DATE_EPOCH")
    os.environ["SOURCE_DATE_EPOCH"] = str(seconds)
    try:
        yield
    finally:
        if before is None:
            del os.environ["SOURCE_DATE_EPOCH"]
        else:
            os.environ["SOURCE_DATE_EPOCH"] = before
