import gzip
import subprocess
from datetime import date
from pathlib import Path

import pytest

from llmaas.hardening import JudgeError, judge_host
from llmaas.hardening import judge as judge_module
from llmaas.hardening.content import ENHANCED, RESTRICTIVE, ContentError, data_stream, enhanced_rules
from llmaas.hardening.results import read_results
from llmaas.settings.hardening import HardeningWaiver

RULE = "xccdf_org.ssgproject.content_rule_"
PROFILE = "xccdf_org.ssgproject.content_profile_anssi_np_nt28_restrictive"
OUTCOMES = {
    "sudo_add_use_pty": "fail",
    "package_ntp_installed": "fail",
    "sshd_disable_root_login": "pass",
    "selinux_state": "notapplicable",
    "other": "notselected",
}
WAIVERS = {
    "scap package_ntp_installed": HardeningWaiver(
        control="R71",
        deviations=("scap package_ntp_installed",),
        reason="chrony does the work of ntp here",
        expires=date(2027, 5, 31),
    )
}


def document(outcomes: dict[str, str]) -> bytes:
    results = "".join(
        f'<rule-result idref="{RULE}{name}" severity="medium"><result>{outcome}</result></rule-result>'
        for name, outcome in outcomes.items()
    )
    return (
        f'<Benchmark xmlns="http://checklists.nist.gov/xccdf/1.2" id="b"><Profile id="{PROFILE}">'
        f'<select idref="{RULE}sshd_disable_root_login" selected="true"/>'
        f'<select idref="{RULE}package_ntp_installed" selected="true"/></Profile>'
        f'<TestResult test-system="oscap">{results}</TestResult></Benchmark>'
    ).encode()


def test_a_waived_rule_still_counts_as_broken_in_the_score() -> None:
    score = read_results("h", document(OUTCOMES), WAIVERS)
    assert [rule.rule for rule in score.failed] == ["sudo_add_use_pty"]
    assert [rule.rule for rule in score.waived] == ["package_ntp_installed"]
    assert (score.passed, score.judged, score.percent) == (1, 3, 33.3)
    assert score.of(RESTRICTIVE).percent == 50.0


@pytest.mark.parametrize("outcome", ["error", "unknown"])
def test_what_the_judge_could_not_say_is_broken(outcome: str) -> None:
    score = read_results("h", document({"sudo_add_use_pty": outcome}), {})
    assert [rule.rule for rule in score.failed] == ["sudo_add_use_pty"]


def test_what_does_not_apply_is_not_judged() -> None:
    score = read_results("h", document(OUTCOMES), WAIVERS)
    assert "other" not in {rule.rule for rule in score.rules}
    assert score.counts()["notapplicable"] == 1


def test_every_rule_of_the_added_profile_is_named_once() -> None:
    assert len(enhanced_rules()) > 40
    assert ENHANCED not in enhanced_rules()


@pytest.mark.parametrize("text", [b"not xml", b"<Benchmark/>"])
def test_a_document_without_results_is_no_score(text: bytes) -> None:
    with pytest.raises(ValueError, match="h: the"):
        read_results("h", text, {})


def test_content_that_asks_otherwise_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "content.xml"
    with pytest.raises(ContentError, match="ssg-debian"):
        data_stream(path)
    path.write_text("<xml/>", encoding="utf-8")
    with pytest.raises(ContentError, match="in another way"):
        data_stream(path)


def answering(code: int, output: bytes) -> judge_module.Remote:
    def remote(command: str, given: bytes, seconds: float) -> subprocess.CompletedProcess[bytes]:
        assert given
        assert seconds > 0
        return subprocess.CompletedProcess(command, code, output, b"apt-get: no such package")

    return remote


def test_a_judge_that_broke_gives_no_score(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge_module, "data_stream", lambda: "<xml/>")
    with pytest.raises(JudgeError, match=r"exit code 70.*no such package"):
        judge_host("h", answering(70, b""), {})
    with pytest.raises(JudgeError, match="h: "):
        judge_host("h", answering(0, b"no gzip"), {})
    assert judge_host("h", answering(0, gzip.compress(document(OUTCOMES))), {}).judged == 3
