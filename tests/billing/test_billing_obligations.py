"""Performance obligations: what they have earned, in both engines, and what is booked of it."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import obligation_frames
import polars as pl
import pytest
from frames_for_tests import eur, in_eur
from hypothesis import given, settings
from hypothesis import strategies as st

from trueup.billing.frames import (
    ACCEPTANCES,
    DOCUMENT_TOTALS,
    EARNINGS,
    LABOUR,
    LINE_POSITIONS,
    ORIGINS,
    POSTED,
    PROGRESS,
    REBATES,
    REVENUE_LINES,
    Shape,
)
from trueup.billing.journals import (
    by_origin,
    document_changes,
    entries,
    late_services,
    plan_journals,
    postings,
)
from trueup.billing.obligations import allocate, modification_kind, rebate_accrued
from trueup.billing.reference import revenue as plain
from trueup.billing.reference.revenue import Books, Promise, Quantity, Term
from trueup.billing.revenue import METHODS, ObligationFacts, RevenueFacts, RevenuePlan, recognise

START, END = date(2026, 1, 1), date(2026, 6, 30)
Row = dict[str, Any]


def rows(shape: Shape, *given: Row) -> pl.DataFrame:
    return pl.DataFrame(given, schema={name: column.dtype for name, column in shape.columns.items()})


def facts(own: ObligationFacts, posted: Sequence[Row] = (), charges: Sequence[Row] = ()) -> RevenueFacts:
    lines = own.obligations.select(
        "contract", "contract_line", "legal_entity", "currency", "method", fee=0, estimated_minutes=None
    )
    posted = [{"document": "invoice", **row} for row in posted]
    charges = [{"bucket": "on_draft", **row} for row in charges]
    return RevenueFacts(
        REVENUE_LINES.write(lines), rows(EARNINGS, *charges), ACCEPTANCES.empty(), PROGRESS.empty(),
        rows(POSTED, *posted), own,
    )  # fmt: skip


FEE = Promise(
    "cost_to_cost",
    terms=[Term(START, "price", Decimal(240_000))],
    performed=[Quantity(date(2026, m, 15), "cost", Decimal(c)) for m, c in ((1, 24_000), (2, 40_000), (3, 36_000))],
    estimates=[Quantity(START, "cost", Decimal(160_000)), Quantity(date(2026, 3, 31), "cost", Decimal(180_000))],
)
LINE: Row = {"contract": "con_0", "contract_line": "L0"}
BILLS = [
    {**LINE, "net": eur(n), "dated_on": day} for n, day in (("72000", date(2026, 1, 31)), ("96000", date(2026, 3, 31)))
]


def months(given: RevenueFacts, *ends: date) -> list[RevenuePlan]:
    found: list[RevenuePlan] = []
    for day in ends:
        found.append(recognise(given, day, found[-1].lines if found else LINE_POSITIONS.empty()))
    return found


def booked(plan: RevenuePlan, *, documents: bool = False) -> dict[str, str]:
    moved = plan.contracts.with_columns(tax_delta=pl.lit(0, pl.Int64))
    return {row["account"]: in_eur(row["amount"]) for row in entries(moved, documents=documents).to_dicts()}


def test_a_fixed_fee_moves_between_contract_liability_and_contract_asset() -> None:
    own, _ = obligation_frames.facts([FEE])
    january, february, march = months(facts(own, BILLS), date(2026, 1, 31), date(2026, 2, 28), date(2026, 3, 31))
    assert booked(january, documents=True) == {"1100": "72000.00", "2400": "-36000.00", "4000": "-36000.00"}
    assert booked(february, documents=True) == {"2400": "36000.00", "1160": "24000.00", "4000": "-60000.00"}
    assert booked(march, documents=True) == {
        "1100": "96000.00", "1160": "-24000.00", "2400": "-34666.67", "4000": "-37333.33",
    }  # fmt: skip


def test_an_invoice_takes_the_asset_first_and_revenue_the_liability() -> None:
    after_february = Books(Decimal(96_000), Decimal(72_000))
    invoiced = replace(after_february, billed=Decimal(168_000))
    assert plain.journal(after_february, invoiced) == {"1100": 96_000, "1160": -24_000, "2400": -72_000}
    earned = replace(invoiced, recognised=Decimal("133333.33"))
    assert plain.journal(invoiced, earned) == {"2400": Decimal("37333.33"), "4000": Decimal("-37333.33")}


def test_time_is_an_unbilled_receivable_until_its_invoice() -> None:
    january = Books(recognised=Decimal(42_000), receivable_claim=True)
    assert plain.journal(Books(receivable_claim=True), january) == {"1150": 42_000, "4000": -42_000}
    invoiced = replace(january, billed=Decimal(42_000), tax=Decimal(7_980))
    assert plain.journal(january, invoiced) == {"1100": 49_980, "1150": -42_000, "2300": -7_980}
    own, _ = obligation_frames.facts([Promise("as_invoiced")])
    given = facts(own, [{**LINE, "net": eur("42000"), "dated_on": date(2026, 2, 28)}],
                  [{**LINE, "amount": eur("42000"), "earned_on": START}])  # fmt: skip
    one, two = months(given, date(2026, 1, 31), date(2026, 2, 28))
    assert booked(one, documents=True) == {"1150": "42000.00", "4000": "-42000.00"}
    assert booked(two, documents=True) == {"1100": "42000.00", "1150": "-42000.00"}


def test_a_month_s_revenue_says_how_much_of_it_is_a_changed_estimate() -> None:
    own, _ = obligation_frames.facts([FEE])
    *_, march = months(facts(own, BILLS), date(2026, 1, 31), date(2026, 2, 28), date(2026, 3, 31))
    [line] = march.lines.to_dicts()
    assert in_eur(line["estimate_change"]) == "-10666.67"
    assert in_eur(line["recognised_delta"] - line["estimate_change"]) == "48000.00"


def test_a_loss_is_provided_for_when_it_is_seen_and_released_as_the_cost_comes() -> None:
    onerous = Promise(
        "cost_to_cost", terms=[Term(START, "price", Decimal(100_000))],
        performed=[Quantity(date(2026, m, 1), "cost", Decimal(c)) for m, c in ((1, 36_000), (2, 12_000), (3, 72_000))],
        estimates=[Quantity(START, "cost", Decimal(90_000)), Quantity(date(2026, 2, 1), "cost", Decimal(120_000))],
    )  # fmt: skip
    own, _ = obligation_frames.facts([onerous])
    _, february, march = months(facts(own), date(2026, 1, 31), date(2026, 2, 28), date(2026, 3, 31))
    assert booked(february) == {"5900": "12000.00", "2500": "-12000.00"}
    assert booked(march) == {
        "1160": "60000.00", "4000": "-60000.00", "2500": "12000.00", "5900": "-12000.00",
    }  # fmt: skip


def test_half_months_are_a_convention_of_their_own() -> None:
    first, last = date(2026, 2, 10), date(2027, 2, 9)
    term = Term(first, "price", Decimal(36_000), last)
    support = Promise("ratable", terms=[term], service_from=first, convention="months")
    ends = list(plain.months(first, last))
    for measure in (lambda day: plain.state(support, day), lambda day: obligation_frames.states([support], day)[0]):
        to_date = [measure(day).recognised for day in ends]
        parts = [b - a for a, b in zip([Decimal(0), *to_date], to_date, strict=False)]
        assert parts == [1500, *[3000] * 11, 1500]


def test_a_prospective_modification_keeps_the_past_and_spreads_the_rest() -> None:
    support = Promise(
        "ratable", service_from=START,
        terms=[Term(START, "price", Decimal(12_000), date(2026, 12, 31)),
               Term(date(2026, 7, 1), "prospective", Decimal(-3_000))],
        convention="months",
    )  # fmt: skip
    for measure in (plain.state, lambda it, day: obligation_frames.states([it], day)[0]):
        assert measure(support, date(2026, 6, 30)).recognised == 6_000
        assert measure(support, date(2026, 7, 31)).recognised == 6_500
        assert measure(support, date(2026, 12, 31)).recognised == 9_000


@pytest.mark.parametrize(
    ("adds_distinct", "at_price", "remainder", "kind"),
    [(True, True, True, "separate"), (True, False, True, "prospective"), (False, False, False, "catch_up")],
)
def test_a_modification_is_one_of_three(adds_distinct: bool, at_price: bool, remainder: bool, kind: str) -> None:
    found = modification_kind(adds_distinct=adds_distinct, at_standalone_price=at_price, remainder_distinct=remainder)
    assert found == kind


def test_the_price_is_shared_by_standalone_prices_to_the_cent() -> None:
    weights = [240_000, 40_000, 60_000]
    parts = pl.DataFrame(
        {"contract": "con_1", "obligation": ["a", "b", "c"], "total": eur("300000"), "weight": weights}
    )
    assert [in_eur(one) for one in allocate(parts)["share"]] == ["211764.70", "35294.12", "52941.18"]


def test_a_rebate_is_accrued_on_the_volume_that_is_expected() -> None:
    term = {"contract": "con_1", "obligation": "O", "effective_on": START, "expected": eur("600000"),
            "threshold": eur("500000"), "share_ppm": 30_000}  # fmt: skip
    so_far = pl.DataFrame({"contract": ["con_1"], "obligation": ["O"], "known": [END], "charged": [eur("300000")]})
    assert [in_eur(one) for one in rebate_accrued(rows(REBATES, term), so_far)["rebate"]] == ["1500.00"]


def test_obligations_of_one_contract_are_shown_net_and_receivables_by_themselves() -> None:
    obligation = {"legal_entity": "DE01", "currency": "EUR", "convention": "days"}
    own, _ = obligation_frames.facts([FEE])
    advice = {**obligation, **LINE, "contract_line": "L9", "obligation": "ADVICE", "method": "as_invoiced"}
    own = replace(own, obligations=pl.concat([own.obligations, rows(obligation_frames.OBLIGATIONS, advice)]))
    charge = {**LINE, "contract_line": "L9", "amount": eur("500"), "earned_on": START}
    [plan] = months(facts(own, BILLS, [charge]), date(2026, 1, 31))
    assert plan.contracts.select("unbilled", "asset", "deferred").rows() == [(eur("500"), 0, eur("36000"))]


def test_a_credit_lowers_the_price_that_is_earned_over_time_and_a_rebill_gives_it_back() -> None:
    support = Promise(
        "ratable", service_from=START, convention="months", terms=[Term(START, "price", Decimal(12_000), date(2026, 12, 31))]
    )  # fmt: skip
    own, _ = obligation_frames.facts([support])
    posted = [{**LINE, "net": eur("12000"), "dated_on": START},
              {**LINE, "document": "credit", "net": eur("2400"), "dated_on": date(2026, 2, 10)},
              {**LINE, "document": "rebill", "net": eur("2400"), "dated_on": date(2026, 3, 10)}]  # fmt: skip
    plans = months(facts(own, posted), date(2026, 1, 31), date(2026, 2, 28), date(2026, 3, 31))
    assert [in_eur(plan.lines["recognised"].item()) for plan in plans] == ["1000.00", "1600.00", "3000.00"]
    assert [in_eur(plan.lines["billed"].item()) for plan in plans] == ["12000.00", "9600.00", "12000.00"]


def test_an_obligation_nobody_has_estimated_is_named() -> None:
    own, _ = obligation_frames.facts([Promise("hours", terms=[Term(START, "price", Decimal(1))])])
    [plan] = months(facts(own), END)
    assert plan.problems == ("O0 of con_0 has no estimate of its hours yet; enter it to earn its revenue.",)


def test_revenue_for_a_closed_month_keeps_its_origin() -> None:
    own, _ = obligation_frames.facts([Promise("as_invoiced")])
    late = [{**LINE, "amount": eur("100"), "earned_on": date(2026, 1, 20)},
            {**LINE, "amount": eur("40"), "earned_on": date(2026, 2, 3)}]  # fmt: skip
    [february] = months(facts(own, (), late), date(2026, 2, 28))
    split = by_origin(february.lines, february.origins, ORIGINS.empty(), "2026-02")
    assert split.select("origin_period", "recognised").rows() == [("2026-01", eur("100")), ("2026-02", eur("40"))]
    closed = pl.DataFrame({"legal_entity": ["DE01"], "period": ["2026-01"]})
    assert late_services(split, closed)["recognised"].to_list() == [eur("100")]
    again = by_origin(recognise(facts(own, (), late), date(2026, 2, 28), february.lines).lines,
                      february.origins, february.origins, "2026-02")  # fmt: skip
    assert again.is_empty()


# --- laws -------------------------------------------------------------------------------------------------------------

amounts = st.integers(1, 10**7).map(lambda cents: Decimal(cents) / 100)
days = st.integers(0, 220).map(lambda after: START + timedelta(days=after))
MEASURE = {
    "cost_to_cost": "cost",
    "hours": "minutes",
    "units": "pieces",
    "milestone": "accepted",
    "at_completion": "cost",
}


@st.composite
def promises(draw: st.DrawFn) -> Promise:
    method = draw(st.sampled_from([one for one in METHODS if one != "as_invoiced"]))
    measure = MEASURE.get(method, "cost")
    money = measure in obligation_frames.MONEY
    quantity = amounts if money else st.integers(1, 10_000).map(Decimal)
    change = st.builds(
        Term, days, st.sampled_from(["prospective", "catch_up", "variable"]), amounts | amounts.map(lambda a: -a / 100)
    )
    done = st.builds(Quantity, days, st.just(measure), quantity)
    extra = st.builds(Quantity, days, st.just("materials"), amounts)
    service = START + timedelta(days=draw(st.integers(0, 60)))
    price = Term(START, "price", Decimal(10**6), service + timedelta(days=draw(st.integers(0, 400))))
    terms = [price, *draw(st.lists(change, max_size=4))]
    # amounts are whole cents
    terms = [replace(term, amount=round(term.amount, 2)) for term in terms]
    return Promise(
        method,
        draw(st.sampled_from(["EUR", "USD"])),
        terms=terms,
        estimates=draw(st.lists(st.builds(Quantity, days, st.just(measure), quantity), max_size=3)),
        performed=[*draw(st.lists(done, max_size=5)), *draw(st.lists(extra, max_size=1))],
        credits=draw(st.lists(st.tuples(days, amounts), max_size=2)),
        convention=draw(st.sampled_from(["days", "months"])),
        service_from=draw(st.sampled_from([service, service, None])),
        completed_on=draw(st.none() | days),
    )


@settings(deadline=None, max_examples=60)
@given(st.lists(promises(), min_size=1, max_size=4), days, days)
def test_both_engines_measure_every_obligation_to_the_last_unit(them: list[Promise], cut: date, known: date) -> None:
    assert obligation_frames.states(them, cut, known) == [plain.state(it, cut, known) for it in them]


@settings(deadline=None, max_examples=40)
@given(promises(), days)
def test_revenue_never_exceeds_the_price_and_equals_it_at_completion(it: Promise, cut: date) -> None:
    now = plain.state(it, cut)
    assert now.recognised <= now.price
    if now.whole is not None and now.whole > 0 and now.done == now.whole and it.method != "milestone":
        materials = sum((q.quantity for q in it.estimates if q.measure == "materials"), Decimal(0))
        assert now.recognised == now.price or materials


@settings(deadline=None, max_examples=12)
@given(st.lists(promises(), min_size=1, max_size=3), st.lists(st.tuples(st.integers(0, 2), amounts, days), max_size=4), st.randoms(use_true_random=False))  # fmt: skip
def test_journals_balance_positions_tie_and_the_order_of_facts_plays_no_part(
    them: list[Promise], bills: list[tuple[int, Decimal, date]], random: Any
) -> None:
    them = [replace(it, currency="EUR") for it in them]
    posted = [
        {"contract": f"con_{n % len(them)}", "contract_line": f"L{n % len(them)}", "net": eur(str(a)), "dated_on": day}
        for n, a, day in bills
    ]
    own, _ = obligation_frames.facts(them)
    ends = (date(2026, 1, 31), date(2026, 4, 30), date(2026, 8, 31))
    plans = months(facts(own, posted), *ends)
    memory = ORIGINS.empty()
    for plan, day in zip(plans, ends, strict=True):
        period = f"{day:%Y-%m}"
        split = by_origin(plan.lines, plan.origins, memory, period)
        made = plan_journals(plan.contracts, LABOUR.empty(), period)
        net = plan.contracts.select("contract", "legal_entity", "currency", net="billed", tax=pl.lit(0, pl.Int64))
        lines = postings(made, split, document_changes(net, DOCUMENT_TOTALS.empty()), period)
        per_journal = lines.group_by("journal").agg(pl.col("debit").sum(), pl.col("credit").sum())
        assert per_journal["debit"].to_list() == per_journal["credit"].to_list()
        assert made.problems == ()
        memory = plan.origins
        tie = pl.col("unbilled") - pl.col("deferred") == pl.col("recognised") - pl.col("billed")
        assert plan.contracts.select(tie.all()).item()
    again = recognise(facts(own, posted), ends[-1], plans[-1].lines)
    assert plan_journals(again.contracts, LABOUR.empty(), "2026-08").journals.is_empty()
    shuffled = ObligationFacts(*(
        frame.sample(fraction=1, shuffle=True, seed=random.randrange(99))
        for frame in (own.obligations, own.terms, own.estimates, own.performed, own.rebates)
    ))  # fmt: skip
    assert recognise(facts(shuffled, posted[::-1]), ends[-1], plans[-2].lines).lines.equals(plans[-1].lines)
