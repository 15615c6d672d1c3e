import json
import re
from dataclasses import replace

from llmaas.evidence.assembly import Evidence
from llmaas.evidence.oscal import assessment_results
from llmaas.evidence.report import html_report
from llmaas.hardening.record import Held, Judgement
from llmaas.settings import load_platform


def test_the_report_says_what_did_not_run_and_what_failed_and_why(evidence: Evidence) -> None:
    text = html_report(evidence)
    assert "GPUs are simulated here" in text
    assert "one is not two" in text
    assert "the guard&#39;s diary" in text
    assert "all of them simulated" in text
    assert "Sample &lt;1&gt;" in text
    assert "<p>Chapter 2. Left out: 2.1.a, 2.1.b.</p>" in text
    assert text.count("<svg ") == 2


def test_the_report_says_how_checks_of_hosts_ended_that_prove_no_requirement(evidence: Evidence) -> None:
    table = html_report(evidence).partition("<h2>Checks that prove no requirement</h2>")[2].partition("</table>")[0]
    rows = {row.partition("</code>")[0]: row for row in table.split("<tr><td><code>")[1:]}
    mixed, emulated, own = (rows[name] for name in ("tests/host/test_mixed.py", "tests/emulated/test_more.py", "tests"))
    assert '<div class="reason">not run: gpu-host-02: Skipped: there is no device to count</div>' in mixed
    assert '<td>that GPUs are counted</td>\n<td><span class="not-run">not run</span> (1 of 2)' in mixed
    # what a proof names stands there
    assert "simulated" not in mixed
    assert "one is not two" not in mixed
    assert '<div class="reason">not run: is not in the given records</div>' in emulated
    assert '<td><span class="not-run">not run</span></td>' in own


def test_what_was_counted_is_in_the_report_the_results_and_the_record(evidence: Evidence) -> None:
    counted = "7 tried, 7 found as the flow matrix says"
    text = html_report(evidence)
    assert f"<tr><td>forbidden connections</td><td>{counted}</td></tr>" in text
    assert "No connection between zones was tried" not in text
    (result,) = json.loads(assessment_results(evidence))["assessment-results"]["results"]
    assert [(each["name"], each["value"]) for each in result["props"]] == [("forbidden-connections", counted)]
    assert json.loads(evidence.verdict.as_json())["figures"] == {"forbidden connections": counted}


def test_openscap_s_judgements_are_in_the_report_and_so_is_who_was_not_judged(evidence: Evidence) -> None:
    before, after = (
        Judgement("gpu-host-02", f"2026-11-2{day}T01:00:00+00:00", "b", "oscap", {"nt28": held}, failed)
        for day, held, failed in ((4, Held(23, 48, 47.9), ("one", "two")), (5, Held(30, 49, 61.2), ()))
    )
    text = html_report(replace(evidence, judgements=(before, after)))
    assert "<td>23 of 48 (47.9 %)</td>\n<td>one, two</td>" in text
    assert "<td>30 of 49 (61.2 %)</td>\n<td>none</td>" in text
    assert "Not judged: control-01, gpu-host-01, gpu-host-03," in text
    assert "Not judged: control-01, gpu-host-01, gpu-host-02, gpu-host-03," in html_report(evidence)


def test_key_servers_that_were_not_judged_are_named_too(evidence: Evidence) -> None:
    platform = load_platform("production")
    (named,) = re.findall("Not judged: (.*)[.]</p>", html_report(replace(evidence, platform=platform)))
    assert named.split(", ") == [machine.name for machine in platform.machines]


def test_a_record_without_figures_says_that_no_connection_was_tried(evidence: Evidence) -> None:
    bare = replace(evidence, verdict=replace(evidence.verdict, figures={}))
    assert "No connection between zones was tried" in html_report(bare)
