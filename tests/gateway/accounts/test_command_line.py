"""The command line against the gateway's routes: what it prints, what it refuses, its exit codes. Needs real stores."""

import asyncio
import csv
import io
import json
import re
import shlex
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import Result
from gateway.accounts.litellm_double import MASTER_KEY
from typer.testing import CliRunner

from llmaas.admin import AdminClient
from llmaas.cli import administration, invoice, key, reconcile, tenant, usage

Run = Callable[[Callable[[Any], Awaitable[Any]]], Any]
APPS = {"tenant": tenant, "key": key, "usage": usage, "invoice": invoice, "reconcile": reconcile}


class Listener(httpx.BaseTransport):
    """The administration listener: the gateway's routes beside LiteLLM's own, served by the test's own loop."""

    def __init__(self, platform: Any, loop: asyncio.AbstractEventLoop) -> None:
        self.platform, self.loop = platform, loop

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        own = request.url.path.startswith("/llmaas")
        client = self.platform.client if own else self.platform.services.litellm._http  # noqa: SLF001
        asked = client.request(request.method, str(request.url), content=request.read(), headers=request.headers)
        answer = asyncio.run_coroutine_threadsafe(asked, self.loop).result(60)
        return httpx.Response(answer.status_code, content=answer.content, headers=answer.headers)


@pytest.fixture
def with_commands(on_platform: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a coroutine with ``platform.run("tenant", "list")``, which returns what the command printed."""

    def run(action: Callable[[Any], Awaitable[Any]]) -> Any:
        async def prepared(platform: Any) -> Any:
            transport = Listener(platform, asyncio.get_running_loop())
            headers = {"Authorization": f"Bearer {MASTER_KEY}"}

            def connect(_: str | None) -> AdminClient:
                return AdminClient(httpx.Client(base_url="http://admin.test", transport=transport, headers=headers))

            monkeypatch.setattr(administration, "connect", connect)

            async def command(subject: str, *arguments: str, code: int = 0) -> Result:
                runner = CliRunner(env={"COLUMNS": "240", "NO_COLOR": "1"})
                result = await asyncio.to_thread(runner.invoke, APPS[subject].app, arguments)  # type: ignore[attr-defined]
                assert result.exit_code == code, (result.output, result.exception)
                return result

            platform.run = command
            return await action(platform)

        return on_platform(prepared)

    return run


def test_a_tenant_lives_from_its_creation_to_its_erasure(with_commands: Run, tmp_path: Path) -> None:
    async def action(platform: Any) -> None:
        run = platform.run
        assert "llmaas key create --tenant acme" in (await run("tenant", "create", "acme", "--tier", "T1")).stdout
        made = json.loads((await run("key", "create", "--tenant", "acme", "--name", "app", "--json")).stdout)
        await run("tenant", "top-up", "acme", "49.90", "--reference", "2026/17")
        listed = json.loads((await run("tenant", "list", "--json")).stdout)
        assert [(t["name"], t["tier"], t["state"], t["credit_left_eur"]) for t in listed] == [
            ("acme", "T1", "active", "249.90")
        ]
        assert "249.90" in (await run("tenant", "list")).stdout
        assert "200.00 € left" in (await run("tenant", "take-back", "acme", "2026/17", "--reference", "bank/3")).stdout
        assert "taken back already on" in (await run("tenant", "take-back", "acme", "2026/17")).stdout
        again = await run("tenant", "top-up", "acme", "49.90", "--reference", "2026/17", code=1)
        assert "under a reference of its own" in again.stderr
        booked = json.loads((await run("tenant", "payments", "acme", "--json")).stdout)
        assert {(p["reference"], p["amount_eur"], p["takes_back"]) for p in booked} == {
            ("joining", "200.00", None),
            ("2026/17", "49.90", None),
            ("bank/3", "-49.90", "2026/17"),
        }
        assert "bank/3" in (await run("tenant", "payments", "acme")).stdout
        await run("tenant", "set-tier", "acme", "monthly")
        await run("tenant", "suspend", "acme")
        assert (await platform.services.directory.account(made["tenant_id"])).suspended
        await run("tenant", "resume", "acme")
        rotated = json.loads((await run("key", "rotate", "app", "--json")).stdout)
        assert (rotated["name"], rotated["key"] != made["key"]) == ("app-r2", True)
        file = tmp_path / "acme.json"
        await run("tenant", "export", "acme", "--into", str(file))
        exported = json.loads(file.read_text(encoding="utf-8"))
        assert (exported["tenant"]["name"], len(exported["top_up"])) == ("acme", 3)
        assert file.stat().st_mode & 0o777 == 0o600
        assert "is there already" in (await run("tenant", "export", "acme", "--into", str(file), code=1)).stderr
        assert "confirm it with" in (await run("tenant", "erase", "acme", "--confirm", "amce", code=1)).stderr
        assert "the accounts stay under tn-" in (await run("tenant", "erase", "acme", "--confirm", "acme")).stdout
        assert json.loads((await run("tenant", "list", "--json")).stdout) == []
        assert "no tenant 'acme'" in (await run("key", "create", "--tenant", "acme", code=1)).stderr

    with_commands(action)


def test_a_tenant_has_a_budget_of_each_month_that_can_be_changed_and_lifted(with_commands: Run) -> None:
    async def action(platform: Any) -> None:
        run = platform.run

        async def budget() -> tuple[str | None, int | None]:
            (tenant,) = json.loads((await run("tenant", "list", "--json")).stdout)
            return tenant["budget_eur"], (await platform.services.directory.account(tenant["id"])).budget_nano_eur

        await run("tenant", "create", "acme", "--tier", "monthly", "--budget-eur", "500", "--budget-period", "month")
        assert await budget() == ("500.00", 500 * 10**9)
        assert "may spend 12.5 €" in (await run("tenant", "set-budget", "acme", "12.5")).stdout
        assert await budget() == ("12.50", 125 * 10**8)
        assert "no budget of its own" in (await run("tenant", "set-budget", "acme")).stdout
        assert await budget() == (None, None)

    with_commands(action)


def test_teams_and_keys_have_exact_budgets_and_are_revoked_by_name(with_commands: Run) -> None:
    async def action(platform: Any) -> None:
        run = platform.run
        await run("tenant", "create", "acme", "--tier", "T1")
        budget = ("--budget-eur", "20", "--budget-period", "month")
        made = await run("tenant", "add-team", "acme", "research", *budget, "--json")
        team = json.loads(made.stdout)["team"]
        options = ("--budget-eur", "0.000001", "--budget-period", "day")
        await run("key", "create", "--tenant", "acme", "--name", "lab", "--team", team, *options)
        keys = json.loads((await run("key", "list", "--tenant", "acme", "--json")).stdout)
        assert [(k["name"], k["tenant_id"], k["budget_eur"]) for k in keys] == [("lab", team, "0.000001")]
        await run("key", "revoke", "lab")
        assert json.loads((await run("key", "list", "--json")).stdout) == []

    with_commands(action)


def test_a_payment_whose_answer_is_lost_can_be_sent_again_by_what_was_printed(
    with_commands: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def action(platform: Any) -> None:
        await platform.run("tenant", "create", "acme", "--tier", "T1")
        original = Listener.handle_request

        def lost(listener: Listener, request: httpx.Request) -> httpx.Response:
            answer = original(listener, request)
            if request.url.path.endswith("/payments"):
                raise httpx.ReadTimeout("timed out", request=request)
            return answer

        monkeypatch.setattr(Listener, "handle_request", lost)
        failed = await platform.run("tenant", "top-up", "acme", "49.90", "-e", "lab", code=1)
        reference = re.findall(r"booking 49.90 € as (llmaas-[0-9a-f]{16})", failed.stderr)[0]
        command = f"llmaas tenant top-up acme 49.90 --reference {reference} --environment lab"
        assert command in failed.stderr
        assert failed.stdout == ""
        monkeypatch.setattr(Listener, "handle_request", original)
        again = await platform.run(*shlex.split(command)[1:])
        assert f"booked already on {platform.now:%Y-%m-%d} as {reference}, nothing added, 249.90 € left" in again.stdout
        told = await platform.run("tenant", "top-up", "acme", "5", "--json")
        assert json.loads(told.stdout)["credit_left_eur"] == "254.90"

    with_commands(action)


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        (("tenant", "create", "acme"), 1, "name one with --tier: T1, monthly"),
        (("tenant", "create", "acme", "--tier", "T1", "--requests-per-minute", "5"), 1, "are those of its tier"),
        (
            ("tenant", "create", "acme", "--tier", "T1", "--budget-eur", "5", "--budget-period", "day"),
            1,
            "begins anew each month, not each day",
        ),
        (("tenant", "set-budget", "nobody", "5"), 1, "no tenant 'nobody'"),
        (("tenant", "set-budget", "nobody", "5,0"), 2, "not a decimal amount"),
        (("tenant", "create", "acme", "--tier", "T9"), 1, "no tier 'T9'"),
        (("tenant", "create", "acme", "--tier", "T1", "--first-payment-eur", "-5"), 2, "'-5' is negative"),
        (("tenant", "top-up", "acme", "1,50"), 2, "not a decimal amount"),
        (("tenant", "suspend", "nobody"), 1, "no tenant 'nobody'"),
        (("key", "create", "--tenant", "acme", "--budget-eur", "much"), 2, "not a decimal amount"),
        (("key", "create", "--tenant", "acme", "--budget-period", "year"), 2, "is none of 30s"),
        (("key", "create", "--tenant", "acme", "--budget-period", "day"), 2, "day is the period of which budget?"),
        (("tenant", "add-team", "acme", "t", "--budget-period", "day"), 2, "day is the period of which budget?"),
        (("tenant", "create", "acme", "--budget-period", "month"), 2, "month is the period of which budget?"),
        (("usage", "--tenant", "nobody"), 1, "no tenant 'nobody'"),
        (("usage", "--model", "gpt"), 1, "'gpt' is not served, has no price"),
        (("usage", "--by", "colour"), 1, "group by one or more of"),
        (("invoice", "--tenant", "nobody", "--month", "2096-11"), 1, "no tenant 'nobody'"),
        (("invoice", "--tenant", "x", "--month", "2096-11", "--draft", "--replay"), 2, "a closed month is replayed"),
    ],
)
def test_bad_input_is_told_with_its_code(with_commands: Run, command: tuple[str, ...], code: int, words: str) -> None:
    async def action(platform: Any) -> None:
        result = await platform.run(*command, code=code)
        assert words in " ".join(result.stderr.replace("│", " ").split())
        assert platform.litellm.teams == {}

    with_commands(action)


def test_usage_is_a_table_csv_or_json_and_all_say_the_same(with_commands: Run) -> None:
    async def action(platform: Any) -> None:
        await platform.run("tenant", "create", "acme", "--tier", "T1")
        identifier = (await platform.ask("GET", "/llmaas/tenants/acme"))["tenant"]
        await platform.call(identifier, "one", {"input": 1_000, "cached_input": 500, "output": 77})
        await platform.store_records()
        query = ("--tenant", "acme", "--model", "granite3.3:8b", "--from", "2096-11-01", "--to", "2096-11-30")
        rows = list(csv.DictReader(io.StringIO((await platform.run("usage", *query, "--csv")).stdout)))
        cost = "0.003316"
        assert rows == [
            {"tenant": "acme", "model": "granite3.3:8b", "calls": "1", "input": "1000", "cached input": "500",
             "output": "77", "cost €": cost},
        ]  # fmt: skip
        assert json.loads((await platform.run("usage", *query, "--json")).stdout)["groups"][0]["cost_eur"] == cost
        assert cost in (await platform.run("usage", *query)).stdout
        days = (await platform.run("usage", "--by", "day,model", "--to", "2096-11-30", "--csv")).stdout
        assert days.splitlines()[1].startswith("2096-11-25,granite3.3:8b,1,")

    with_commands(action)


def test_an_invoice_is_refused_before_its_month_closes_and_replays_to_the_same_cents(with_commands: Run) -> None:
    async def action(platform: Any) -> None:
        run = platform.run
        await run("tenant", "create", "acme", "--tier", "monthly")
        identifier = (await platform.ask("GET", "/llmaas/tenants/acme"))["tenant"]
        await platform.call(identifier, "one", {"input": 10**6, "output": 3 * 10**6})
        await platform.call(identifier, "two", {"output": 10**6}, factors=("batch",))
        await platform.store_records()
        month = ("--tenant", "acme", "--month", "2096-11")
        assert "2096-11 is not closed" in (await run("invoice", *month, code=1)).stderr
        assert "2096-11 is not closed" in (await run("invoice", *month, "--replay", code=1)).stderr
        draft = (await run("invoice", *month, "--draft")).stdout
        assert "draft" in draft
        platform.now = datetime(2096, 12, 4, tzinfo=UTC)
        shown = (await run("invoice", *month)).stdout
        for part in ("2026-08/input", "2026-08/output", "1/2", "24.00", "4.00", "29.80 €", "2 calls, exactly"):
            assert part in shown
        document = json.loads((await run("invoice", *month, "--json")).stdout)
        assert (document["total_cents"], document["due_eur"], document["draft"]) == (2_980, "29.80", False)
        rows = list(csv.DictReader(io.StringIO((await run("invoice", *month, "--csv")).stdout)))
        assert {row["price entry"]: row["amount €"] for row in rows if row["factor"] == "1"} == {
            "2026-08/input": "1.80",
            "2026-08/output": "24.00",
        }
        assert "2 calls replayed: 29.80 €" in (await run("invoice", *month, "--replay")).stdout

    with_commands(action)


def test_a_difference_ends_the_reconciliation_with_code_1(with_commands: Run) -> None:
    async def action(platform: Any) -> None:
        await platform.run("tenant", "create", "acme", "--tier", "T1")
        assert "0 differences" in (await platform.run("reconcile")).stdout
        platform.litellm.teams.clear()
        result = await platform.run("reconcile", code=1)
        assert "has no such team in LiteLLM" in result.stderr

    with_commands(action)
