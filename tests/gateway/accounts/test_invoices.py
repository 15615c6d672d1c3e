"""What a month comes to: exact call by call, the same whichever way it is summed, rounded once. Needs real stores."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from llmaas_gateway.accounts.account import AccountError
from llmaas_gateway.charging import Usage, charge
from llmaas_gateway.invoices.invoice import Group, Totals, invoice_of
from llmaas_gateway.invoices.issuing import Invoices
from llmaas_gateway.invoices.months import Month
from llmaas_gateway.invoices.replay import Replay, Replayed
from llmaas_gateway.price_file import parse_price_book
from llmaas_gateway.prices import PriceBook, Unit

Run = Callable[[Callable[[Any], Awaitable[Any]]], Any]
PARIS = ZoneInfo("Europe/Paris")
NOVEMBER = Month(2096, 11)
BOOK = parse_price_book("""
currency: EUR
time_zone: Europe/Paris
factors: {batch: "0.5", odd: "0.333"}
entries:
  - {id: old, model: "*", per: million, valid_from: "2026-01-01T00:00:00", prices: {input: "0.9", output: "4"}}
  - {id: new, model: "*", per: million, valid_from: "2096-11-16T00:00:00", prices: {input: "1.801", output: "8.003"}}
""")

CALLS = st.lists(
    st.tuples(
        st.dictionaries(st.sampled_from([Unit.INPUT, Unit.CACHED_INPUT, Unit.OUTPUT]), st.integers(1, 10**6)),
        st.integers(1, 30),
        st.sampled_from([(), ("batch",), ("odd",), ("batch", "odd")]),
        st.integers(0, 100),
        st.sampled_from(["prepaid", "monthly"]),
        st.sampled_from(["granite3.3:8b", "llama3.2:3b"]),
    ),
    max_size=30,
)


def records_of(calls: list[Any]) -> list[dict[str, Any]]:
    """Records as the ledger leaves them; of some calls a share was not charged."""
    records = []
    for number, (counts, day, factors, share, billing, model) in enumerate(calls):
        at = datetime(2096, 11, day, 12, 0, tzinfo=PARIS)
        charged = charge(BOOK, model, Usage(counts), at, *factors)
        unbilled = charged.nano_eur * share // 100 if share < 20 else 0
        records.append({
            "request_id": f"call-{number}",
            "began_at": at,
            "billing": billing,
            "model": model,
            "counts": {line.unit.value: line.count for line in charged.lines},
            "price_ids": {line.unit.value: line.price_id for line in charged.lines},
            "factor": str(charged.factor),
            "nano_eur": charged.nano_eur - unbilled,
            "unbilled_nano_eur": unbilled,
        })  # fmt: skip
    return records


def summed(records: list[dict[str, Any]]) -> tuple[list[Group], Totals]:
    counts: dict[tuple[str, str, str, str], int] = {}
    for record in records:
        for unit, count in record["counts"].items():
            place = (record["model"], unit, record["price_ids"][unit], record["factor"])
            counts[place] = counts.get(place, 0) + count
    groups = [Group(*place, count) for place, count in counts.items()]
    return groups, Totals(
        calls=len(records),
        nano_eur=sum(r["nano_eur"] for r in records),
        credit_nano_eur=sum(r["nano_eur"] for r in records if r["billing"] == "prepaid"),
        unbilled_nano_eur=sum(r["unbilled_nano_eur"] for r in records),
    )


def replayed(records: list[dict[str, Any]], book: PriceBook = BOOK) -> Any:
    replay = Replay(book)
    for record in records:
        replay.add(record)
    return replay.result()


@settings(deadline=None)
@given(CALLS)
def test_the_lines_of_an_invoice_account_for_every_nano_euro(calls: list[Any]) -> None:
    groups, totals = summed(records_of(calls))
    invoice = invoice_of("tn-a", NOVEMBER, groups, totals, BOOK)
    lines = sum(line.nano_eur for line in invoice.lines)
    assert lines + invoice.rounding_nano_eur - invoice.not_charged_nano_eur == invoice.total_nano_eur == totals.nano_eur
    # a call and a line are each rounded by half a nano-euro at most
    assert abs(invoice.rounding_nano_eur) <= Fraction(len(calls) + len(invoice.lines), 2)


@settings(deadline=None)
@given(CALLS)
def test_the_replay_of_the_records_gives_the_same_cents(calls: list[Any]) -> None:
    records = records_of(calls)
    invoice = invoice_of("tn-a", NOVEMBER, *summed(records), BOOK)
    result = replayed(records)
    assert result.differences(invoice, result.sha256) == []
    assert (result.nano_eur, result.cents) == (invoice.total_nano_eur, invoice.total_cents)


@settings(deadline=None)
@given(CALLS.filter(bool), st.data())
def test_a_record_that_was_changed_is_found_by_the_replay(calls: list[Any], data: st.DataObject) -> None:
    records = records_of(calls)
    invoice, before = invoice_of("tn-a", NOVEMBER, *summed(records), BOOK), replayed(records)
    record = data.draw(st.sampled_from(records))
    field = data.draw(st.sampled_from(["nano_eur", "unbilled_nano_eur", "factor", "began_at", "counts"]))
    if field == "counts":
        record["counts"] = {**record["counts"], "output": record["counts"].get("output", 0) + 7}
        record["price_ids"] = {"output": "new/output", **record["price_ids"]}
    elif field == "factor":
        record["factor"] = "7/10"
    elif field == "began_at":
        record["began_at"] += timedelta(seconds=1)
    else:
        record[field] += 1
    assert replayed(records).differences(invoice, before.sha256)


@given(st.integers(0, 10**18))
def test_cents_are_rounded_once_half_to_even(nanos: int) -> None:
    invoice = invoice_of("tn-a", NOVEMBER, [], Totals(1, nanos, 0, 0), BOOK)
    exact = Decimal(nanos) / Decimal(10_000_000)
    assert invoice.total_cents == int(exact.quantize(Decimal(1), rounding=ROUND_HALF_EVEN))
    assert abs(invoice.total_cents - exact) <= Decimal("0.5")


def test_what_credit_has_paid_is_not_due_again_and_vat_is_on_what_is_due() -> None:
    invoice = invoice_of("tn-a", NOVEMBER, [], Totals(9, 123_455_000_000, 100_000_000_000, 0), BOOK, "20")
    assert (invoice.total_cents, invoice.due_cents, invoice.vat_cents) == (12_346, 2_346, 469)
    without = invoice_of("tn-a", NOVEMBER, [], Totals(9, 100, 100, 0), BOOK)
    assert (without.due_cents, without.vat_percent, without.vat_cents) == (0, None, None)


def test_a_price_entry_that_was_lost_is_named() -> None:
    group = Group("granite3.3:8b", "input", "gone/input", "1", 5)
    with pytest.raises(AccountError, match="price entry 'gone/input' was charged by but is not in the price book"):
        invoice_of("tn-a", NOVEMBER, [group], Totals(1, 5, 0, 0), BOOK)


@given(st.integers(2000, 2098), st.integers(1, 12))
def test_months_follow_each_other_without_a_gap_or_an_overlap(year: int, number: int) -> None:
    month = Month(year, number)
    assert Month.parse(str(month)) == month
    assert month.end(PARIS) == month.following.start(PARIS)
    for moment in (month.start(PARIS), month.end(PARIS) - timedelta(microseconds=1)):
        assert Month.of(moment.astimezone(UTC), PARIS) == month


@pytest.mark.parametrize("text", ["2026-13", "2026-00", "26-11", "2096-11-01", "november", ""])
def test_what_is_no_month_is_refused(text: str) -> None:
    with pytest.raises(AccountError, match="is no month like 2026-11"):
        Month.parse(text)


async def month_of_calls(platform: Any, tenant: str) -> int:
    """Some calls around the ends of November in Paris; the sum of those in it."""
    inside = [datetime(2096, 11, 1, 0, 0, tzinfo=PARIS), datetime(2096, 11, 30, 23, 59, 59, tzinfo=PARIS)]
    outside = [moment + sign * timedelta(seconds=1) for moment, sign in zip(inside, (-1, 1), strict=True)]
    total = 0
    for number, at in enumerate([*inside, platform.now]):
        counts = {"input": 1_001 + number, "output": 333, "reasoning": 17}
        total += await platform.call(tenant, f"{tenant}-in-{number}", counts, at=at, factors=("batch",) * (number % 2))
    for number, at in enumerate(outside):
        await platform.call(tenant, f"{tenant}-out-{number}", {"output": 5_000}, at=at)
    return total


def test_an_invoice_is_issued_once_its_month_is_closed_and_stays_the_same(on_platform: Run) -> None:
    async def action(platform: Any) -> None:
        tenant = await platform.tenant("acme", "monthly")
        total = await month_of_calls(platform, tenant)
        await platform.store_records()
        path = "/llmaas/tenants/acme/invoices/2096-11"
        draft = await platform.ask("GET", path)
        assert (draft["draft"], draft["total_nano_eur"], draft["calls"]) == (True, total, 3)
        assert (draft["name"], draft["tenant"]) == ("acme", tenant)
        platform.now = datetime(2096, 12, 2, 23, 59, tzinfo=PARIS)
        refused = await platform.raw("POST", path)
        assert refused.status_code == 409
        assert "closes at 2096-12-03T00:00:00+01:00" in refused.json()["error"]["message"]
        platform.now = datetime(2096, 12, 3, 0, 0, tzinfo=PARIS)
        issued = await platform.ask("POST", path)
        again = await platform.ask("POST", path)
        assert issued == again == await platform.ask("GET", path)
        assert (issued["draft"], issued["total_nano_eur"]) == (False, total)
        assert {line["price_id"] for line in issued["lines"]} == {
            "2026-08/input",
            "2026-08/output",
            "2026-08/reasoning",
        }
        assert {line["factor"] for line in issued["lines"]} == {"1", "1/2"}
        replay = await platform.ask("GET", f"{path}/replay")
        assert (replay["cents"], replay["nano_eur"], replay["differences"]) == (issued["total_cents"], total, [])
        assert [act.action for act in platform.acts if act.tenant == tenant] == ["tenant.create", "invoice.issue"]

    on_platform(action)


async def in_the_audit(platform: Any, action: str) -> int:
    query = "SELECT count(*) AS n FROM audit.record WHERE body::jsonb -> 'facts' ->> 'action' = %s"
    return int((await platform.stores.database.read(query, [action]))[0]["n"])


@pytest.mark.parametrize(("conflicts", "status"), [(1, 200), (3, 200), (100, 503)])
def test_an_invoice_is_issued_though_things_are_done_to_the_tenant_meanwhile(
    on_platform: Run, monkeypatch: pytest.MonkeyPatch, conflicts: int, status: int
) -> None:
    async def action(platform: Any) -> None:
        tenant = await platform.tenant("acme", "monthly")
        await month_of_calls(platform, tenant)
        await platform.store_records()
        platform.now = datetime(2096, 12, 3, 0, 0, tzinfo=PARIS)
        original, left = Invoices._replayed, [conflicts]  # noqa: SLF001 - something comes between

        async def disturbed(invoices: Invoices, *arguments: Any) -> Replayed:
            replayed = await original(invoices, *arguments)
            if left[0]:
                left[0] -= 1
                await platform.ask("PUT", "/llmaas/tenants/acme/budget", {"budget_eur": str(left[0])})
            return replayed

        monkeypatch.setattr(Invoices, "_replayed", disturbed)
        answer = await platform.raw("POST", "/llmaas/tenants/acme/invoices/2096-11")
        assert answer.status_code == status, answer.text
        kept = await platform.stores.database.read("SELECT month FROM ledger.invoice")
        assert len(kept) == await in_the_audit(platform, "invoice.issue") == int(status == 200)
        if status == 503:
            assert answer.headers["retry-after"] == "30"
            assert "4 times something was done to the tenant meanwhile" in answer.json()["error"]["message"]

    on_platform(action)


def test_an_invoice_that_two_ask_for_at_once_is_issued_once(on_platform: Run) -> None:
    async def action(platform: Any) -> None:
        tenant = await platform.tenant("acme", "monthly")
        await month_of_calls(platform, tenant)
        await platform.store_records()
        platform.now = datetime(2096, 12, 3, 0, 0, tzinfo=PARIS)
        path = "/llmaas/tenants/acme/invoices/2096-11"
        first, second = await asyncio.gather(*(platform.ask("POST", path) for _ in range(2)))
        assert first == second
        assert await in_the_audit(platform, "invoice.issue") == 1

    on_platform(action)


def test_no_invoice_is_issued_while_one_of_its_records_is_on_its_way(on_platform: Run) -> None:
    async def action(platform: Any) -> None:
        tenant = await platform.tenant("acme", "monthly")
        await platform.call(tenant, "late", {"output": 100})
        platform.now = datetime(2096, 12, 5, tzinfo=UTC)
        path = "/llmaas/tenants/acme/invoices/2096-11"
        refused = await platform.raw("POST", path)
        assert refused.status_code == 409
        assert "1 calls up to 2096-11 are on their way" in refused.json()["error"]["message"]
        await platform.store_records()
        assert (await platform.ask("POST", path))["calls"] == 1

    on_platform(action)


def test_an_invoice_cannot_be_changed_and_a_record_that_was_is_named_by_the_replay(on_platform: Run) -> None:
    async def action(platform: Any) -> None:
        tenant = await platform.tenant("acme", "monthly")
        await month_of_calls(platform, tenant)
        await platform.store_records()
        platform.now = datetime(2096, 12, 5, tzinfo=UTC)
        path = "/llmaas/tenants/acme/invoices/2096-11"
        await platform.ask("POST", path)
        with pytest.raises(psycopg.errors.RaiseException, match=r"ledger\.invoice is append-only"):
            async with platform.stores.database.change() as connection:
                await connection.execute("UPDATE ledger.invoice SET total_nano_eur = 0")
        async with platform.stores.database.change() as connection:
            await connection.execute("SET session_replication_role = replica")  # as whoever owns the database could
            await connection.execute("UPDATE ledger.record SET nano_eur = nano_eur + 1 WHERE request_id LIKE '%in-0'")
        differences = (await platform.ask("GET", f"{path}/replay"))["differences"]
        assert len(differences) == 2
        assert f"call {tenant}-in-0 was charged" in differences[0]
        assert "SHA-256 differs" in differences[1]
        findings = (await platform.ask("GET", "/llmaas/reconciliation"))["findings"]
        assert "invoices" in {finding["check"] for finding in findings}

    on_platform(action)


def test_what_a_call_cost_beyond_its_reservation_is_shown_and_not_charged(on_platform: Run) -> None:
    async def action(platform: Any) -> None:
        tenant = await platform.tenant("acme", "monthly")
        await platform.call(tenant, "dear", {"output": 100}, most=500_000)
        await platform.store_records()
        draft = await platform.ask("GET", "/llmaas/tenants/acme/invoices/2096-11")
        assert (draft["lines"][0]["nano_eur"], draft["not_charged_nano_eur"]) == (800_000, 300_000)
        assert (draft["total_nano_eur"], draft["rounding_nano_eur"]) == (500_000, 0)

    on_platform(action)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.dictionaries(
                st.sampled_from(["input", "cached_input", "system", "output", "reasoning"]), st.integers(1, 9999)
            ),
            st.booleans(),
        ),
        max_size=12,
    )
)
def test_records_settlements_invoice_and_replay_come_to_the_same(on_platform: Run, calls: list[Any]) -> None:
    async def action(platform: Any) -> None:
        tenant = await platform.tenant("acme")
        charged = 0
        for number, (counts, batch) in enumerate(calls):
            charged += await platform.call(tenant, f"c{number}", counts, factors=("batch",) if batch else ())
        await platform.store_records()
        draft = await platform.ask("GET", "/llmaas/tenants/acme/invoices/2096-11")
        used = await platform.ask("GET", "/llmaas/usage", tenant="acme", **{"from": "2096-11-01", "to": "2096-11-30"})
        shown = await platform.ask("GET", "/llmaas/tenants/acme")
        replay = replayed([
            {**row} for row in await platform.stores.database.read("SELECT * FROM ledger.record ORDER BY began_at")
        ], platform.services.book)  # fmt: skip
        assert draft["total_nano_eur"] == draft["paid_from_credit_nano_eur"] == replay.nano_eur == charged
        assert sum(group["nano_eur"] for group in used["groups"]) == charged
        assert Decimal(shown["spent_month_eur"]) * 10**9 == charged
        assert (replay.wrong, replay.calls) == ((), len(calls))

    on_platform(action)
