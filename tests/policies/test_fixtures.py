"""What tests/fixtures promises: each bad one is refused where it says and nowhere else, each good one passes."""

import re
from collections import Counter
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from llmaas_policies.pack import RULES

from llmaas.preview.placeholders import images_of
from llmaas.preview.report import declare
from llmaas.preview.trials import NOT_RENDERED, Expected, TrialError, judge, read_trial
from llmaas.settings import load_platform

FIXTURES = Path(__file__).parents[1] / "fixtures"
BAD = sorted((FIXTURES / "bad").glob("*.yaml"))
GOOD = sorted((FIXTURES / "good").glob("*.yaml"))
# the day of those that name none: the project's own exceptions hold on it
TODAY = date(2026, 11, 25)


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_a_mistake_is_refused_by_its_rule_at_its_path_and_by_nothing_else(path: Path) -> None:
    trial = read_trial(path, TODAY)
    expected = trial.refused
    assert isinstance(expected, Expected)
    found = judge(trial)
    texts = [f"{subject}: {refusal}" for subject, refusal in found]
    assert any(
        subject == expected.by
        and refusal.rule == expected.rule
        and (expected.resource is None or refusal.resource == expected.resource)
        and refusal.path.startswith(expected.path)
        and expected.says in refusal.text
        for subject, refusal in found
    ), texts
    others = {refusal.rule or refusal.path for _, refusal in found} - {expected.rule, *expected.also}
    assert all(expected.rule is None and other.startswith(expected.path) for other in others), texts


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_what_is_right_passes(path: Path) -> None:
    trial = read_trial(path, TODAY)
    assert trial.refused is None
    assert [f"{subject}: {refusal}" for subject, refusal in judge(trial)] == []


def test_what_trials_take_for_not_rendered_is_rendered_nowhere() -> None:
    moment = datetime(2026, 11, 25, 12, tzinfo=UTC)
    platform = load_platform("production")
    hosts = tuple(host.model_copy(update={"country": "DE"}) for host in platform.hosts)
    other = platform.model_copy(
        update={
            **{name: None for name, whole in NOT_RENDERED.items() if whole is True},
            "hosts": hosts,
            "site": platform.site.model_copy(update={"registry_country": None}),
        }
    )
    images, _ = images_of(platform)
    assert declare(other, images, moment) == declare(platform, images, moment)


def test_every_rule_has_a_fixture_and_every_fixture_a_rule_that_is_there() -> None:
    rules = Counter(trial.refused.rule for trial in map(read_trial, BAD) if trial.refused is not None)
    del rules[None]
    assert set(rules) == {rule.name for rule in RULES}
    assert len(BAD) >= 30


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("about: x\nobjects: {Deployment nowhere/nothing: {spec: 1}}\n", "declares no Deployment nowhere/nothing"),
        ("about: x\nstack: {'llmaas:hosts[99].country': US}\n", "there is no hosts[99].country to change"),
        ("about: x\nobjects: {Service llmaas-data/redis: {kind: !replace {a: b}}}\n", "'a' is not in it"),
        ("about: x\nstacks: {}\n", "stacks"),
        ("about: [", "while parsing"),
    ],
)
def test_a_trial_that_changes_nothing_is_an_error(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "trial.yaml"
    path.write_text(content)
    with pytest.raises(TrialError, match=re.escape(says)):
        judge(read_trial(path))
