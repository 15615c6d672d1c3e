"""A year of a catalogue's life with a clock of its own, and each promise that a change may not break."""

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from llmaas_gateway.lifecycle import LifecycleError, read_lifecycle
from typer.testing import CliRunner, Result

from llmaas import paths
from llmaas.cli import catalogue as catalogue_cli
from llmaas.paths import stack_file
from llmaas.planning.lifecycle import add_months

RUNNER = CliRunner()
OLD, NEW = 0, 1


class World:
    """A stack file, its promises and a clock."""

    def __init__(self, root: Path) -> None:
        text = stack_file("lab").read_text()
        self.document: dict[str, Any] = yaml.safe_load(text)
        self.models: list[dict[str, Any]] = self.document["config"]["llmaas:models"]
        del self.models[2]
        self.models[OLD].update(phase="experimental")
        del self.models[OLD]["production_date"]
        self.folder = root / "stacks"
        self.folder.mkdir()
        self.today = "2026-01-10"

    def run(self, *arguments: str) -> Result:
        (self.folder / "Pulumi.lab.yaml").write_text(yaml.safe_dump(self.document))
        return RUNNER.invoke(catalogue_cli.app, list(arguments))

    def check(self) -> str:
        """The refusals; empty when every promise is kept."""
        found = self.run("check")
        assert found.exit_code in {0, 2}, found.output
        return found.output if found.exit_code else ""

    def announce(self, model: int) -> Result:
        return self.run("announce", self.models[model]["name"])

    def become_stable(self, model: int, day: str) -> None:
        self.today = day
        self.models[model].update(phase="stable", production_date=day)
        assert self.announce(model).exit_code == 0

    def deprecate(self, day: str, end: str) -> None:
        self.today = day
        self.models[OLD].update(
            phase="deprecated", announced=day, end_of_support=end, replacement=self.models[NEW]["name"]
        )

    @property
    def promises(self) -> Path:
        return self.folder / "promises.lab.jsonl"


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path)
    monkeypatch.setattr(paths, "PROJECT_ROOT", tmp_path)
    monkeypatch.setattr(catalogue_cli, "now", lambda: datetime.fromisoformat(made.today).replace(hour=12, tzinfo=UTC))
    return made


def test_a_year_of_a_catalogue(world: World) -> None:
    assert world.check() == ""
    world.become_stable(OLD, "2026-02-01")
    assert world.check() == ""
    # pinned for six months
    world.today = "2026-07-31"
    world.models[OLD]["context_tokens"] = 512
    assert "models[0].context_tokens: was 1024, is 512; a stable model stays as it is until 2026-08-01" in world.check()
    assert world.announce(OLD).exit_code == 2
    # after that a change is a new pin, and must be recorded
    world.today = "2026-08-01"
    assert "production_date: context_tokens changed; give the day of the change" in world.check()
    world.models[OLD]["production_date"] = "2026-08-01"
    assert "is not recorded as it stands here" in world.check()
    assert world.announce(OLD).exit_code == 0
    assert world.check() == ""
    # it ends, with notice and a way on
    world.become_stable(NEW, "2026-08-15")
    world.deprecate("2026-09-01", "2026-12-01")
    assert world.announce(OLD).exit_code == 0
    assert world.check() == ""
    world.today = "2026-12-01"
    world.models[OLD]["phase"] = "removed"
    assert "is removed before its end of support; serve it through 2026-12-01" in world.check()
    world.today = "2026-12-02"
    assert world.check() == ""
    # the entry may go as well; what was recorded stays
    del world.document["config"]["llmaas:models"][OLD]
    world.document["config"]["llmaas:demand"] = []
    assert world.check() == ""
    assert len(world.promises.read_text().splitlines()) == 4


@pytest.fixture
def promised(world: World) -> World:
    """Both models stable since February; today is the first of March."""
    world.become_stable(OLD, "2026-02-01")
    world.become_stable(NEW, "2026-02-01")
    world.today = "2026-03-01"
    return world


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"context_tokens": 2048}, "models[0].context_tokens: was 1024, is 2048"),
        (
            {"capabilities": ["chat", "tools"], "tool_parser": "granite"},
            "models[0].capabilities: was ['chat'], is ['chat', 'tools']",
        ),
        ({"production_date": "2026-02-02"}, "models[0].production_date: was recorded as 2026-02-01; put it back"),
        ({"production_date": None}, "models[0].production_date: is missing on a stable model"),
        ({"production_date": "2026-03-02"}, "lies ahead; keep it experimental until that day"),
        ({"phase": "removed"}, "is removed and its end was never announced"),
        ({"phase": "experimental"}, "goes back to experimental and its end was never announced"),
        ({"placement": {}}, "models[0].placement: granite3.3:8b is switched off"),
        ({"minimum_replicas": 0}, "is switched off"),
        ({"phase": "deprecated"}, "models[0].announced: is missing on a deprecated model"),
        ({"phase": "deprecated"}, "models[0].replacement: a deprecated model needs one"),
        ({"phase": "deprecated", "replacement": "granite3.3:8b"}, "is no other stable model"),
        ({"announced": "2026-03-01"}, "models[0].end_of_support: is missing; announced and end_of_support go together"),
        (
            {"announced": "2026-03-01", "end_of_support": "2026-05-31"},
            "2026-05-31 is less than 3 months after 2026-03-01; give 2026-06-01 or later",
        ),
    ],
)
def test_a_broken_promise_is_refused(promised: World, values: dict[str, Any], says: str) -> None:
    assert promised.check() == ""
    promised.models[OLD].update(values)
    assert says in promised.check()


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (
            {"announced": "2026-01-01", "end_of_support": "2026-12-31"},
            "models[0].announced: 2026-01-01 is before its production_date (2026-02-01); put them in order",
        ),
        (
            {"announced": "2026-03-01", "end_of_support": "2026-02-28"},
            "models[0].end_of_support: 2026-02-28 is before its announced (2026-03-01); put them in order",
        ),
        ({"end_of_support": "2026-02-30"}, "models[0].end_of_support: '2026-02-30' is not a date"),
        ({"replacement": "granite9"}, "models[0].replacement: 'granite9' is no entry of llmaas:models"),
    ],
)
def test_dates_out_of_order_and_unknown_replacements_are_mistakes_of_the_input(
    promised: World, values: dict[str, Any], says: str
) -> None:
    promised.models[OLD].update(values)
    found = promised.run("check")
    assert (found.exit_code, says in found.output) == (1, True), found.output


def test_long_term_support_is_never_lowered(promised: World) -> None:
    promised.today = "2027-01-01"
    promised.models[OLD]["long_term_support"] = True
    assert promised.announce(OLD).exit_code == 0
    promised.models[OLD]["long_term_support"] = False
    assert "long_term_support: was promised and is withdrawn" in promised.check()


def test_a_promised_model_cannot_vanish_from_the_file(promised: World) -> None:
    del promised.models[OLD]
    promised.document["config"]["llmaas:demand"] = []
    assert "llmaas:models: granite3.3:8b is gone from the catalogue and its end was never announced" in promised.check()


def test_an_announcement_that_is_dated_back_gives_no_notice(promised: World) -> None:
    promised.deprecate("2026-03-01", "2026-06-01")
    promised.today = "2026-05-20"
    found = promised.announce(OLD)
    assert found.exit_code == 2
    assert "2026-06-01 is less than 3 months from today; give 2026-08-20 or later" in found.output


def test_an_end_may_be_put_off_but_not_brought_forward_or_withdrawn(promised: World) -> None:
    promised.deprecate("2026-03-01", "2026-09-01")
    assert promised.announce(OLD).exit_code == 0
    promised.models[OLD]["end_of_support"] = "2026-08-31"
    assert "was promised as 2026-09-01; give that day or a later one" in promised.check()
    promised.models[OLD]["end_of_support"] = "2026-10-01"
    promised.today = "2026-08-25"
    assert "is not recorded as it stands here" in promised.check()
    assert promised.announce(OLD).exit_code == 0
    assert promised.check() == ""
    promised.models[OLD].update(phase="stable", announced=None, end_of_support=None)
    assert "its end was announced and is withdrawn" in promised.check()


@pytest.mark.parametrize("how", ["edit", "drop", "cut", "garbage"])
def test_a_past_promise_cannot_be_edited(promised: World, how: str) -> None:
    lines = promised.promises.read_text().splitlines()
    if how == "edit":
        lines[0] = lines[0].replace("1024", "512")
    elif how == "drop":
        del lines[0]
    elif how == "cut":
        lines[-1] = lines[-1][: len(lines[-1]) // 2]
    else:
        lines[0] = json.dumps({"number": 1})
    promised.promises.write_text("\n".join(lines))
    found = promised.run("check")
    assert found.exit_code == 2
    assert "promises.lab.jsonl" in found.output
    assert "bring the file back from version control" in found.output
    assert promised.announce(OLD).exit_code == 2


def test_promises_that_are_cut_off_whole_are_missed(promised: World) -> None:
    promised.promises.write_text(promised.promises.read_text().splitlines()[0] + "\n")
    assert "models[1]: its production is not recorded as it stands here" in promised.check()


def test_the_api_says_that_a_model_ends(promised: World) -> None:
    promised.deprecate("2026-03-01", "2026-06-30")
    view = json.loads(promised.run("api").output)
    assert view["granite3.3:8b"]["headers"] == {
        "Deprecation": "@1772323200",
        "Sunset": "Wed, 01 Jul 2026 00:00:00 GMT",
        "Link": '<https://api.lab.llmaas.internal/v1/models/llama3.2:3b>; rel="successor-version"',
    }
    assert view["llama3.2:3b"]["headers"] == {}
    assert view["llama3.2:3b"]["lifecycle"]["pinned_until"] == "2026-08-01"
    before = json.loads(promised.run("api", "--on", "2026-02-28").output)
    assert before["granite3.3:8b"]["lifecycle"]["phase"] == "stable"
    assert before["granite3.3:8b"]["headers"] == {}
    assert "granite3.3:8b" not in json.loads(promised.run("api", "--on", "2026-07-01").output)


def test_the_gateways_file_says_on_every_day_what_the_catalogue_says(promised: World, tmp_path: Path) -> None:
    promised.deprecate("2026-03-01", "2026-06-30")
    path = tmp_path / "lifecycle.json"
    path.write_text(promised.run("api", "--every-day").output)
    promised.today = "2031-01-01"
    assert promised.run("api", "--every-day").output == path.read_text()
    known = read_lifecycle(path)
    for day in ("1999-01-01", "2026-01-31", "2026-02-01", "2026-02-28", "2026-03-01", "2026-06-30", "2026-07-01"):
        view = json.loads(promised.run("api", "--on", day).output)
        for hour in (0, 23):
            served = known.at(datetime.fromisoformat(day).replace(hour=hour, tzinfo=UTC))
            assert {name: {**life.listed(), "headers": life.headers} for name, life in served.items()} == view


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"periods": [{"from": "2026-01-01", "mod', "JSON"),
        ('{"periods": []}', "periods"),
        (
            '{"periods": [{"from": "2026-02-01", "models": {}}, {"from": "2026-01-01", "models": {}}]}',
            "follow each other",
        ),
    ],
)
def test_a_lifecycle_file_that_is_cut_or_out_of_order_is_refused(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "lifecycle.json"
    path.write_text(text)
    with pytest.raises(LifecycleError, match=says):
        read_lifecycle(path)


def test_the_catalogue_shows_any_day_in_three_forms(promised: World) -> None:
    promised.deprecate("2026-03-01", "2026-06-30")
    rows = json.loads(promised.run("--on", "2026-06-30", "--format", "json").output)
    assert (rows[0]["phase"], rows[0]["days_left"], rows[0]["replacement"]) == ("deprecated", 0, "llama3.2:3b")
    assert json.loads(promised.run("--on", "2026-01-31", "--format", "json").output)[0]["phase"] == "experimental"
    markdown = promised.run("--format", "markdown").output.splitlines()
    assert len({line.count("|") for line in markdown}) == 1
    assert "2026-06-30 (121 days)" in markdown[2]
    assert "granite3.3:8b" in promised.run().output


def test_unknown_models_and_empty_promises_are_refused(promised: World) -> None:
    assert "is no entry of llmaas:models" in promised.run("announce", "gpt").output
    found = promised.announce(OLD)
    assert (found.exit_code, "0 new" in found.output) == (0, True)


@given(st.dates(date(2000, 1, 1), date(2100, 1, 1)), st.integers(1, 24))
def test_months_never_skip_one(day: date, months: int) -> None:
    later = add_months(day, months)
    assert (later.year * 12 + later.month) - (day.year * 12 + day.month) == months
    assert later.day <= day.day
