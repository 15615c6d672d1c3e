"""OSCAL assessment results of what was found, made and validated with compliance-trestle."""

import re
import uuid
from collections.abc import Sequence
from typing import Any, Final

from llmaas.evidence.assembly import MAP_COPY, Evidence
from llmaas.evidence.control_map import ControlMap
from llmaas.evidence.judgement import Judged, Result
from llmaas.settings import KeyServer, Machine, Platform
from llmaas.verify import Verdict

# Equal things have equal identifiers in every run; the namespace is this project's own.
_NAMESPACE: Final = uuid.UUID("6a4fbd1c-6f0e-5d0a-9a52-3f5a2a0b7c11")
_PROPERTIES: Final = "https://llmaas.internal/ns/evidence"
_VERSION: Final = "1"


class OscalError(ValueError):
    """What was made is no valid OSCAL; the text says where."""


def assessment_results(evidence: Evidence) -> str:
    """A document of OSCAL assessment results as JSON: an observation for each check, a finding for each requirement.

    A requirement is ``satisfied`` only if checks prove all of it, without an exception; what the operator must bring
    and what is excused stand in its remarks.

    Raises:
        OscalError: compliance-trestle refuses it.
    """
    # It takes seconds to import; only who writes evidence waits for it.
    from pydantic import ValidationError  # noqa: PLC0415
    from trestle.core.duplicates_validator import DuplicatesValidator  # noqa: PLC0415
    from trestle.core.refs_validator import RefsValidator  # noqa: PLC0415
    from trestle.oscal import OSCAL_VERSION  # noqa: PLC0415
    from trestle.oscal.assessment_results import AssessmentResults, Model  # noqa: PLC0415

    content = _document(evidence)
    content["metadata"]["oscal-version"] = OSCAL_VERSION
    try:
        document = AssessmentResults.model_validate(content)
    except ValidationError as error:
        raise OscalError(str(error)) from error
    for validator in (DuplicatesValidator(), RefsValidator()):
        if not validator.model_is_valid(document, quiet=True):
            raise OscalError(f"{type(validator).__name__} refuses the document")
    whole = Model(assessment_results=document)
    text: str = whole.model_dump_json(by_alias=True, exclude_none=True, indent=2)
    return text + "\n"


def _document(evidence: Evidence) -> dict[str, Any]:
    platform, control_map, verdict = evidence.platform, evidence.control_map, evidence.verdict
    name = platform.environment
    remarks = [each for each in (verdict.problem, *evidence.differences) if each]
    return {
        "uuid": _id(name, "document"),
        "metadata": {
            "title": f"Evidence of environment {name}",
            "last-modified": verdict.ended,
            "version": _VERSION,
            "props": [_property("control-map-date", control_map.date.isoformat())],
        },
        "import-ap": {"href": f"#{_id(name, 'input', MAP_COPY)}", "remarks": "The control map is the plan."},
        "results": [
            {
                "uuid": _id(name, "result"),
                "title": f"Checks of environment {name}",
                "description": "Tests of the live platform and of its software, and judgements of its stack file.",
                "start": verdict.started,
                "end": verdict.ended,
                **({"props": [_figure(*each) for each in verdict.figures.items()]} if verdict.figures else {}),
                **({"remarks": "\n".join(remarks)} if remarks else {}),
                "local-definitions": {"inventory-items": [_machine(platform, each) for each in platform.machines]},
                "reviewed-controls": {
                    "control-selections": [
                        {
                            "description": framework.title,
                            "include-controls": [
                                {"control-id": _control(framework.id, requirement.id)}
                                for requirement in framework.requirements
                            ],
                        }
                        for framework in control_map.frameworks
                    ]
                },
                "observations": [_observation(platform, verdict, each) for each in evidence.results.values()],
                "findings": [_finding(name, control_map, each) for each in evidence.judged],
            }
        ],
        "back-matter": {"resources": [_resource(name, file, digest) for file, digest in evidence.inputs.items()]},
    }


def _machine(platform: Platform, machine: Machine) -> dict[str, Any]:
    props, does = [_property("address", str(machine.address))], "key server"
    if not isinstance(machine, KeyServer):
        props.append(_property("country", machine.country or "not declared"))
        does = ", ".join(machine.roles)
        if machine.gpus is not None:
            props.append(_property("gpus", f"{machine.gpus.count} {machine.gpus.kind} {machine.gpus.model}"))
    return {
        "uuid": _id(platform.environment, "host", machine.name),
        "description": f"{machine.name}: {does}",
        "props": props,
    }


def _observation(platform: Platform, verdict: Verdict, result: Result) -> dict[str, Any]:
    subjects = " ".join(row.subject for row in result.begun)
    hosts = [machine.name for machine in platform.machines if machine.name in subjects]
    remarks = "\n".join((*result.reasons, *(f"exception: {each}" for each in result.exceptions)))
    observation: dict[str, Any] = {
        "uuid": _id(platform.environment, "check", result.check),
        "title": result.check,
        "description": f"{result.says}: {len(result.begun)} tried, {result.count('passed')} passed",
        "props": [
            _property("outcome", result.outcome),
            *(_property(outcome.replace(" ", "-"), str(result.count(outcome))) for outcome in _COUNTED),
            *_excused(result.exceptions),
        ],
        "methods": ["TEST"],
        "types": ["control-objective"],
        "relevant-evidence": [{"href": "record.json", "description": "The row of every subject."}],
        "collected": verdict.ended,
    }
    if hosts:
        observation["subjects"] = [
            {"subject-uuid": _id(platform.environment, "host", host), "type": "inventory-item", "title": host}
            for host in hosts
        ]
    if remarks:
        observation["remarks"] = remarks
    return observation


def _excused(exceptions: Sequence[str]) -> list[dict[str, str]]:
    return [_property("exceptions", str(len(exceptions)))] if exceptions else []


_COUNTED: Final = ("passed", "failed", "not run")


def _finding(environment: str, control_map: ControlMap, judged: Judged) -> dict[str, Any]:
    framework, requirement = judged.framework, judged.requirement
    says = "; ".join(control_map.proofs[name].says for name in requirement.proofs)
    reason = {"proved": "pass", "failed": "fail"}.get(judged.state, "other")
    finding: dict[str, Any] = {
        "uuid": _id(environment, "requirement", framework.id, requirement.id),
        "title": f"{framework.title} {requirement.id}: {requirement.title}",
        "description": says or f"{judged.state}: no check proves it",
        "props": [_property("state", judged.state), *_excused(judged.exceptions)],
        "target": {
            "type": "objective-id",
            "target-id": _control(framework.id, requirement.id),
            "status": {"state": "satisfied" if judged.state == "proved" else "not-satisfied", "reason": reason},
        },
    }
    if judged.results:
        finding["related-observations"] = [
            {"observation-uuid": _id(environment, "check", result.check)} for result in judged.results
        ]
    remarks = [f"The operator brings: {requirement.operator}"] if requirement.operator else []
    remarks += [f"Exception: {each}" for each in judged.exceptions]
    if remarks:
        finding["remarks"] = "\n".join(remarks)
    return finding


def _resource(environment: str, file: str, digest: str) -> dict[str, Any]:
    return {
        "uuid": _id(environment, "input", file),
        "title": file,
        "rlinks": [{"href": file, "hashes": [{"algorithm": "SHA-256", "value": digest}]}],
    }


def _property(name: str, value: str) -> dict[str, str]:
    return {"name": name, "ns": _PROPERTIES, "value": value}


def _figure(name: str, text: str) -> dict[str, str]:
    # A token has neither spaces nor commas.
    return _property("-".join(re.findall(r"[a-z0-9]+", name.lower())), text)


def _control(framework: str, number: str) -> str:
    # A token of OSCAL begins with a letter.
    return f"{framework}_{number}"


def _id(*parts: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, "\0".join(parts)))
