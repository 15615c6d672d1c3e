import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from llmaas_gateway.audit.signing import AUDIT, ERASURE, EVIDENCE, KeyFormatError, Signer
from trestle.oscal.assessment_results import AssessmentResults
from unit.evidence.sample import STATES, evidence_of, run_sample

from llmaas.erasure import KIND
from llmaas.evidence import folder as folder_module
from llmaas.evidence.assembly import Evidence
from llmaas.evidence.folder import FolderError, read_certificates, write_folder
from llmaas.evidence.verification import verify_folder
from llmaas.verify import Verdict

ISO_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"
# The only fields that hold times.
TIMES = re.compile(rf'("(last-modified|start|end|collected|started|ended)": |<time>)"?{ISO_TIME}')
SECONDS = re.compile(r'"seconds": [0-9.]+')


def _write(evidence: Evidence, target: Path, signer: Signer, certificates: dict[str, bytes] | None = None) -> Path:
    write_folder(evidence, target, signer, certificates=certificates or {}, on_part=lambda _: None)
    return target


@pytest.fixture(scope="module")
def made(evidence: Evidence, signer: Signer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    certificates = {"certificates/gpu-host-01/disk.json": b"{}"}
    return _write(evidence, tmp_path_factory.mktemp("made") / "evidence", signer, certificates)


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    target = tmp_path / "copy"
    for path in made.rglob("*"):
        if path.is_file():
            (target / path.relative_to(made)).parent.mkdir(parents=True, exist_ok=True)
            (target / path.relative_to(made)).write_bytes(path.read_bytes())
    return target


def _pem(signer: Signer) -> bytes:
    return signer.public_pem().encode()


def test_a_folder_as_it_was_written_holds(made: Path, signer: Signer) -> None:
    found = verify_folder(made, [_pem(signer)])
    assert found.problems == ()
    assert (found.environment, found.key) == ("lab", signer.key)
    assert found.files == len([path for path in made.rglob("*") if path.is_file()]) - 1


def test_a_folder_has_all_its_parts(made: Path) -> None:
    assert {path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file()} == {
        "assessment-results.json",
        "certificates/gpu-host-01/disk.json",
        "control-map.yaml",
        "fleet.svg",
        "inputs.json",
        "manifest.json",
        "public-key.pem",
        "record.json",
        "report.html",
        "report.pdf",
        "zones.svg",
    }


def _altered(folder: Path) -> str:
    path = folder / "report.html"
    path.write_bytes(path.read_bytes().replace(b"failed", b"passed", 1))
    return "report.html: altered"


def _missing(folder: Path) -> str:
    (folder / "zones.svg").unlink()
    return "zones.svg: is missing"


def _added(folder: Path) -> str:
    (folder / "certificates" / "more.json").write_text("{}")
    return "certificates/more.json: was added"


def _linked(folder: Path) -> str:
    content = folder.parent / "elsewhere"
    (folder / "record.json").rename(content)
    (folder / "record.json").symlink_to(content)
    return "record.json: altered: is no file any more"


def _rehashed(folder: Path) -> str:
    path = folder / "manifest.json"
    content = json.loads(path.read_text())
    content["statement"]["files"]["report.html"] = "0" * 64
    path.write_text(json.dumps(content))
    return "manifest.json: the signature does not fit the statement"


def _outside(folder: Path) -> str:
    path = folder / "manifest.json"
    content = json.loads(path.read_text())
    content["statement"]["files"]["../elsewhere"] = "0" * 64
    path.write_text(json.dumps(content))
    return "../elsewhere: leads out of the folder"


def _without_manifest(folder: Path) -> str:
    (folder / "manifest.json").unlink()
    return "manifest.json: is missing: the folder is not whole"


def _cut_manifest(folder: Path) -> str:
    path = folder / "manifest.json"
    path.write_bytes(path.read_bytes()[:200])
    return "manifest.json: is no JSON"


def _other_manifest(folder: Path) -> str:
    (folder / "manifest.json").write_text('{"statement": {"is": "export"}, "key": "", "signature": ""}')
    return "manifest.json: is no manifest of evidence"


@pytest.mark.parametrize(
    "harm",
    [_altered, _missing, _added, _linked, _rehashed, _outside, _without_manifest, _cut_manifest, _other_manifest],
)
def test_what_was_done_to_a_folder_is_named(copy: Path, signer: Signer, harm: Callable[[Path], str]) -> None:
    says = harm(copy)
    found = verify_folder(copy, [_pem(signer)])
    assert not found.holds
    assert [problem for problem in found.problems if problem.startswith(says)]


def test_every_file_is_guarded(copy: Path, signer: Signer) -> None:
    for path in [path for path in copy.rglob("*") if path.is_file() and path.name != "manifest.json"]:
        whole = path.read_bytes()
        path.write_bytes(whole + b" ")
        assert verify_folder(copy, [_pem(signer)]).problems == (f"{path.relative_to(copy).as_posix()}: altered",)
        path.write_bytes(whole)


def test_another_key_is_refused_and_so_is_one_for_another_purpose(
    made: Path, evidence: Evidence, tmp_path: Path
) -> None:
    other = Signer.from_secret("B" * 43, EVIDENCE)
    assert "is not among the given ones" in verify_folder(made, [_pem(other)]).problems[0]
    audit = _write(evidence, tmp_path / "evidence", Signer.from_secret("A" * 43, AUDIT))
    assert "does not fit the statement" in verify_folder(audit).problems[0]
    with pytest.raises(KeyFormatError):
        verify_folder(made, [b"no key"])


def test_oscal_reads_back_with_a_finding_for_each_requirement(made: Path, evidence: Evidence) -> None:
    document = AssessmentResults.oscal_read(made / "assessment-results.json")
    (result,) = document.results
    states = {finding.title.split()[2].rstrip(":"): finding for finding in result.findings}
    assert {number: finding.props[0].value for number, finding in states.items()} == STATES
    satisfied = {number for number, finding in states.items() if finding.target.status.state.value == "satisfied"}
    assert satisfied == {"1.1.a"}
    observations = {observation.uuid: observation for observation in result.observations}
    assert {observation.title for observation in observations.values()} == set(evidence.results)
    related = [each.observation_uuid for finding in result.findings for each in finding.related_observations or ()]
    assert set(related) <= observations.keys()
    selected = result.reviewed_controls.control_selections[0].include_controls
    assert [each.control_id for each in selected] == [finding.target.target_id for finding in result.findings]


def _bytes(folder: Path) -> dict[str, Any]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_two_runs_differ_in_times_alone(tmp_path: Path, signer: Signer) -> None:
    (tmp_path / "sample").mkdir()
    made = []
    for number, started in enumerate(("2026-11-25T01:00:00+00:00", "2026-11-26T02:03:04+00:00")):
        verdict = replace(run_sample(tmp_path / "sample"), started=started, ended=started)
        (tmp_path / str(number)).mkdir()
        evidence = evidence_of(tmp_path / str(number), verdict, signer.key)
        made.append(_bytes(_write(evidence, tmp_path / f"evidence-{number}", signer)))
    first, second = made
    assert first.keys() == second.keys()
    for name in first.keys() - {"manifest.json", "report.pdf"}:
        plain = [SECONDS.sub("", TIMES.sub("", each[name].decode())) for each in made]
        assert plain[0] == plain[1], name
        assert not re.search(ISO_TIME, plain[0]), name
    names = [json.loads(each["manifest.json"])["statement"]["files"].keys() for each in made]
    assert names[0] == names[1]


def test_the_same_evidence_gives_the_same_bytes(made: Path, evidence: Evidence, signer: Signer, tmp_path: Path) -> None:
    again = _write(evidence, tmp_path / "again", signer, {"certificates/gpu-host-01/disk.json": b"{}"})
    assert _bytes(again) == _bytes(made)


def test_a_folder_that_is_there_is_never_written_over(evidence: Evidence, signer: Signer, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(FolderError, match="is there already"):
        _write(evidence, tmp_path / "there", signer)
    with pytest.raises(FolderError, match="is no folder"):
        _write(evidence, tmp_path / "nowhere" / "evidence", signer)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, MemoryError])
def test_what_is_interrupted_leaves_nothing(
    evidence: Evidence, signer: Signer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    def interrupted(*_: object) -> str:
        raise error

    monkeypatch.setattr(folder_module, "_manifest", interrupted)
    with pytest.raises(error):
        _write(evidence, tmp_path / "evidence", signer)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A signed certificate in its host's folder, beside a copy of a header that nobody else may have."""
    folder = tmp_path / "disks" / "gpu-host-01"
    folder.mkdir(parents=True)
    device = {
        "path": "/dev/vdb",
        "luks_uuid": "b1946ac9-2492-4d23-b6f5-a1d8f5a3c9e1",
        "key_slots": {"before": 2, "after": 0},
        "bindings": {"before": 1, "after": 0},
        "header_sha256": {"before": "0" * 64, "after": "1" * 64},
        "attempts": [{"with": "the recovery key", "before": "opened", "after": "refused"}],
    }
    statement = {"is": KIND, "environment": "lab", "host": "gpu-host-01", "at": "2026-11-25", "by": "me"}
    signed = Signer.from_secret("A" * 43, ERASURE).sign({**statement, "devices": [device]})
    (folder / "header.age").write_text("secret")
    (folder / "erasure-1.json").write_text(json.dumps(signed.content()))
    return folder / "erasure-1.json"


def test_certificates_are_enclosed_and_nothing_that_lies_beside_them(certificate: Path, signer: Signer) -> None:
    found = read_certificates(certificate.parents[1], [signer.public_pem()])
    assert found == {"certificates/gpu-host-01/erasure-1.json": certificate.read_bytes()}


def test_a_certificate_that_was_altered_is_refused(certificate: Path, signer: Signer) -> None:
    certificate.write_text(certificate.read_text().replace("gpu-host-01", "gpu-host-02"))
    with pytest.raises(FolderError, match="does not fit the statement"):
        read_certificates(certificate.parents[1], [signer.public_pem()])


def test_certificates_of_an_earlier_key_are_enclosed_if_that_key_is_given(certificate: Path, signer: Signer) -> None:
    replaced = Signer.from_secret("B" * 43, EVIDENCE).public_pem()
    with pytest.raises(FolderError, match="give the old public key with --certificate-key"):
        read_certificates(certificate.parents[1], [replaced])
    assert len(read_certificates(certificate.parents[1], [replaced, signer.public_pem()])) == 1


def test_without_certificates_none_are_enclosed(tmp_path: Path, signer: Signer) -> None:
    assert read_certificates(None, [signer.public_pem()]) == {}
    (tmp_path / "empty").mkdir()
    for wrong in ("empty", "none"):
        with pytest.raises(FolderError, match=wrong):
            read_certificates(tmp_path / wrong, [signer.public_pem()])


def test_a_verdict_without_checks_proves_nothing(tmp_path: Path, sample: Verdict, signer: Signer) -> None:
    evidence = evidence_of(tmp_path, replace(sample, checks=(), collected=0), signer.key)
    states = {each.requirement.id: each.state for each in evidence.judged}
    assert {state for number, state in states.items() if number < "1.7"} == {"not run"}
