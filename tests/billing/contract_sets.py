"""Hypothesis strategies: small firms with every billing method, odd rates, tight caps and untidy facts."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import frames_for_tests as make
import polars as pl
from hypothesis import strategies as st

from trueup.billing.frames import FX_RATES, PAID_SHARES, RunFacts
from trueup.billing.terms import (
    Exchange,
    ExpenseRule,
    Increment,
    Minimum,
    Overtime,
    Payer,
    PurchaseOrder,
    RateOrder,
    Step,
    TaskCap,
    Terms,
    Tiers,
    TimeType,
)
from trueup.kernel.money import to_units

Row = dict[str, Any]

AUGUST = date(2026, 8, 1)
ROLES = ("Analyst", "Consultant")
RATES = (("0", "160", "165.5", "99.99", "123.3333"), ("0", "9000", "20001"))
PLACES = (("DE", "EUR"), ("GB", "GBP"), ("US", "USD"), ("JP", "JPY"))

days = st.integers(0, 33).map(lambda offset: AUGUST + timedelta(days=offset))
cents = st.integers(0, 300_000).map(lambda minor: minor * 10_000)


@st.composite
def project_rows(draw: st.DrawFn, number: int) -> Row:
    seller, currency = draw(st.sampled_from(PLACES))
    method = draw(st.sampled_from(["time_and_materials"] * 3 + ["retainer", "fixed_fee", "pass_through"]))
    return {
        "project": f"prj_{number}",
        "code": f"D{number:02d}-{seller}01",
        "contract": f"con_{draw(st.integers(1, 2))}",
        "currency": currency,
        "seller_country": seller,
        "buyer_country": draw(st.sampled_from(["DE", "FR", "GB", "US", seller, None])),
        "buyer_has_tax_id": draw(st.booleans()),
        "contract_active": draw(st.integers(0, 9)) > 0,
        "method": method,
        "cap": draw(st.none() | cents),
        "cap_used": draw(cents) // 4,
        "pass_through": draw(st.booleans()),
        "markup_ppm": draw(st.sampled_from([0, 50_000, 100_000, 33_333])),
        "monthly_fee": draw(st.sampled_from([None, 0, to_units(Decimal("10000"), currency)])),
        "included_minutes": draw(st.none() | st.integers(0, 1500)),
        "overage_rate": draw(st.none() | st.integers(0, 250).map(lambda rate: to_units(Decimal(rate), currency))),
        "period_included_used": draw(st.integers(0, 600)),
        "rolled_minutes": draw(st.sampled_from([None, None, 0, 240])),
        "fees_due": draw(st.sampled_from([[], ["2026-08"], ["2026-07", "2026-08"]])),
        "terms_days": draw(st.sampled_from([0, 30, 45])),
        **draw(supplies()),
    }


@st.composite
def supplies(draw: st.DrawFn) -> Row:
    """Draw what tax looks at besides seller and buyer; for most projects nothing is known of it."""
    if draw(st.integers(0, 3)):
        return {}
    return {
        "registered_in": draw(st.sampled_from([None, [], ["FR", "DE"]])),
        "buyer_region": draw(st.sampled_from([None, "TX", "NY"])),
        "vat_id": draw(st.sampled_from([None, "DE136695976", "FR00000000000"])),
        "vat_id_valid": draw(st.sampled_from([None, True, False])),
        "vat_id_checked_on": draw(st.none() | days),
        "service_category": draw(st.sampled_from([None, "general", "event", "magic"])),
        "used_in": draw(st.sampled_from([None, "DE", "FR", "US"])),
        "service_code": draw(st.sampled_from([None, "saas", "data_processing", "magic"])),
        "nexus": draw(st.sampled_from([None, True, True, False])),
        "state_rate_ppm": draw(st.sampled_from([None, 82_500, 88_750])),
        "supplied_on": draw(st.sampled_from([None, date(2020, 8, 31), date(2026, 8, 31)])),
    }


@st.composite
def rate_rows(draw: st.DrawFn, number: int) -> Row:
    start = AUGUST + timedelta(days=draw(st.integers(-40, 25)))
    _, currency = draw(st.sampled_from(PLACES))
    return {
        "gid": f"rul_{number}",
        "contract": f"con_{draw(st.integers(1, 2))}",
        "role": draw(st.sampled_from(ROLES)),
        "currency": currency,
        "rate": to_units(Decimal(draw(st.sampled_from(RATES[currency == "JPY"]))), currency),
        "valid_from": start,
        "valid_to": draw(st.none() | st.integers(0, 40).map(lambda length: start + timedelta(days=length))),
    }  # fmt: skip


@st.composite
def entry_rows(draw: st.DrawFn, number: int, projects: int) -> Row:
    minutes = draw(st.sampled_from([1, 7, 15, 45, 480, 600]) | st.integers(1, 900))
    done = draw(st.sampled_from([0, 0, 0, 1]) | st.integers(-60, 60))
    return {
        "gid": f"tim_{number:02d}",
        "fact_version": draw(st.integers(1, 3)),
        "source_order": draw(st.integers(1, 5)),
        "contract": "con_1",
        "project": f"prj_{draw(st.integers(1, projects + (draw(st.integers(0, 9)) == 0)))}",
        "role": draw(st.sampled_from([*ROLES, *ROLES, "Partner"]) | st.none()),
        "worked_on": draw(days),
        "minutes": minutes,
        "open_minutes": minutes - max(0, done),
        "allocated_amount": 0 if done <= 0 else draw(cents) // 100,
        "billable": draw(st.integers(0, 9)) > 0,
        "status": draw(st.sampled_from(["approved"] * 6 + ["submitted", "draft", "rejected"])),
    }


@st.composite
def expense_rows(draw: st.DrawFn, number: int, projects: int) -> Row:
    amount = draw(st.sampled_from([25_000_000, 25_010_000]) | cents) * draw(st.sampled_from([1, 1, 1, -1]))
    return {
        "gid": f"exp_{number:02d}",
        "source_order": number,
        "project": f"prj_{draw(st.integers(1, projects + (draw(st.integers(0, 9)) == 0)))}",
        "spent_on": draw(days),
        "category": draw(st.sampled_from(["Hotel", "Taxi"])),
        "amount": amount,
        "open_amount": draw(st.sampled_from([amount, amount, 0])),
        "billable": draw(st.booleans()),
        "status": draw(st.sampled_from(["approved", "posted", "reimbursed", "submitted"])),
        "has_receipt": draw(st.booleans()),
    }


@st.composite
def run_facts(draw: st.DrawFn) -> RunFacts:
    """Draw a whole run's facts; most days lie in August, some after it."""
    projects = draw(st.integers(1, 3))
    return RunFacts(
        entries=make.entries(*[draw(entry_rows(n, projects)) for n in range(draw(st.integers(0, 10)))]),
        expenses=make.expenses(*[draw(expense_rows(n, projects)) for n in range(draw(st.integers(0, 4)))]),
        projects=make.projects(*[draw(project_rows(n + 1)) for n in range(projects)]),
        rates=make.rates(*[draw(rate_rows(n)) for n in range(draw(st.integers(0, 8)))]),
    )


# --- the same firms with terms of their own ---------------------------------------------------------------------------

TASKS = ("tsk_1", "tsk_2")
tens = st.integers(0, 40).map(lambda hundreds: Decimal(hundreds) * 50)


@st.composite
def tiers(draw: st.DrawFn) -> Tiers:
    first, second = sorted(draw(st.lists(st.integers(1, 2000), min_size=2, max_size=2, unique=True)))
    return Tiers(
        draw(st.sampled_from(["graduated", "volume"])),
        (Step(first, Decimal(200)), Step(second, Decimal("190")), Step(None, Decimal("180"))),
        draw(st.sampled_from(["total", "month"])),
    )


@st.composite
def purchase_orders(draw: st.DrawFn) -> tuple[PurchaseOrder, ...]:
    return tuple(
        PurchaseOrder(
            f"PO{number}",
            draw(tens),
            draw(st.none() | days),
            draw(st.none() | days),
            draw(st.integers(1, 2)),
        )
        for number in range(draw(st.integers(0, 3)))
    )


expense_rules = st.builds(
    ExpenseRule,
    billable=st.sampled_from([None, None, True, False]),
    treatment=st.sampled_from(["principal", "principal", "agent"]),
    markup_share=st.sampled_from([None, Decimal("0.05"), Decimal("0.1")]),
    markup_cap=st.sampled_from([None, Decimal(5)]),
    receipt_threshold=st.sampled_from([None, Decimal(10)]),
    policy_limit=st.sampled_from([None, Decimal(1000)]),
    recoverable_share=st.sampled_from([Decimal(0), Decimal("0.19")]),
    daily_rate=st.sampled_from([None, None, None, Decimal(60)]),
)
exchanges = st.builds(
    Exchange,
    currency=st.sampled_from([currency for _, currency in PLACES]),
    policy=st.sampled_from(["service_date", "period_average", "invoice_date", "fixed"]),
    rate=st.just(Decimal("1.08")),
)
payers = st.lists(
    st.builds(
        Payer,
        bill_to=st.sampled_from(["cus_8", "cus_9"]),
        weight=st.sampled_from([Decimal(60), Decimal(40), Decimal("33.3")]),
        country=st.sampled_from(["DE", "FR", "US", None]),
        has_tax_id=st.booleans(),
        region=st.sampled_from([None, "TX"]),
        vat_id=st.sampled_from([None, None, "FR00000000000"]),
        vat_id_valid=st.sampled_from([None, True]),
        vat_id_checked_on=st.none() | days,
        nexus=st.sampled_from([None, True]),
        state_rate_ppm=st.sampled_from([None, 82_500]),
    ),
    min_size=1,
    max_size=3,
).map(tuple)


def rarely(strategy: st.SearchStrategy[Any], usual: Any) -> st.SearchStrategy[Any]:
    return st.one_of(st.just(usual), st.just(usual), strategy)


some_terms = st.builds(
    Terms,
    name=st.just("drawn"),
    rate_order=rarely(st.just(RateOrder(tiers=("list", "negotiated"), by=("where", "who"))), RateOrder()),
    increment=st.builds(
        Increment,
        minutes=st.sampled_from([1, 6, 15, 30]),
        direction=st.sampled_from(["up", "nearest", "down"]),
        scope=st.sampled_from(["entry", "day_per_task", "line"]),
    ),
    minimum_minutes=rarely(st.just(120), 0),
    hours_2dp_first=st.booleans(),
    time_types=rarely(st.just({"night": TimeType(Decimal("2.0"), Decimal("1.25"))}), {}),
    overtime=rarely(
        st.builds(
            Overtime,
            after_daily_minutes=st.none() | st.just(480),
            after_weekly_minutes=st.none() | st.just(900),
            stack=st.sampled_from(["add", "multiply", "max"]),
            accepted=st.booleans(),
        ),
        None,
    ),
    daily_cap_minutes=rarely(st.sampled_from([0, 60, 480]), None),
    cap_policy=st.sampled_from(["split", "stop_before", "warn_only"]),
    task_caps=rarely(st.builds(lambda amount, used: (TaskCap("tsk_1", amount, used),), tens, tens), ()),
    discount_share=rarely(st.sampled_from([Decimal("0.05"), Decimal("0.033333")]), Decimal(0)),
    tiers=rarely(tiers(), None),
    header_discount=rarely(st.just(Decimal("0.1")), Decimal(0)),
    minimum=rarely(st.builds(Minimum, tens, st.none() | days, st.none()), None),
    po_required=st.booleans(),
    purchase_orders=purchase_orders(),
    expenses=rarely(st.fixed_dictionaries({"Hotel": expense_rules}), {}),
    exchange=rarely(exchanges, None),
    split_by=st.sampled_from([("project",), ("contract",), ("project", "period", "po")]),
    lines_by=st.sampled_from([("role",), ("person", "week"), ("project", "task", "role")]),
    payers=rarely(payers, ()),
    late_work=st.sampled_from(["redate", "hold"]),
)


@st.composite
def selected_rates(draw: st.DrawFn, number: int) -> Row:
    line = draw(rate_rows(number))
    for name, values in (
        ("resource", ["res_1", None, None]),
        ("task", [*TASKS, None, None, None]),
        ("project", ["prj_1", None, None]),
        ("role", [line["role"], None]),
        ("contract", [line["contract"], None]),
    ):
        line[name] = draw(st.sampled_from(values))
    return {**line, "tier": draw(st.sampled_from(["negotiated", "list", None]))}


@st.composite
def termed_facts(draw: st.DrawFn, *, fresh: bool = False) -> RunFacts:
    """Draw a run whose projects have terms; fresh ones have nothing billed yet."""
    projects = draw(st.integers(1, 2))
    terms = {f"prj_{n + 1}": draw(some_terms) for n in range(projects)}
    entries, expenses = [], []
    for n in range(draw(st.integers(0, 8))):
        entry = draw(entry_rows(n, projects))
        entry["allocated_amount"] = entry["allocated_amount"] // 10_000 * 10_000
        if fresh:
            entry |= {"open_minutes": entry["minutes"], "allocated_amount": 0}
        task, kind = draw(st.sampled_from([*TASKS, None])), draw(st.sampled_from(["night", "other", None]))
        resource = draw(st.sampled_from(["res_1", "res_1", "res_2"]))
        entries.append({**entry, "task": task, "time_type": kind, "resource": resource})
    for n in range(draw(st.integers(0, 4))):
        line = draw(expense_rows(n, projects))
        if fresh:
            line["open_amount"] = line["amount"]
        line["currency_spent"] = draw(st.sampled_from([None, None, "EUR", "JPY", "CHF"]))
        expenses.append({**line, "card_rate_e8": draw(st.none() | st.just(106_020_000))})
    rows = [
        {
            **(row := draw(project_rows(n + 1))),
            "cap_used": row["cap_used"] // 10_000 * 10_000,
            "credit_hold": draw(st.integers(0, 9)) == 0,
            "period_billed": draw(cents),
        }
        for n in range(projects)
    ]
    fx = [
        {"from_currency": one, "to_currency": other, "purpose": purpose, "day": day, "rate_e8": rate, "source": "bank"}
        for one, other in (("EUR", "USD"), ("USD", "EUR"), ("JPY", "EUR"), ("EUR", "JPY"), ("CHF", "EUR"))
        for purpose, day, rate in (
            ("day", AUGUST - timedelta(days=3), 108_500_000),
            ("day", AUGUST + timedelta(days=7), 109_120_000),
            ("day", AUGUST + timedelta(days=9), 107_880_001),
            *draw(st.sampled_from([[], [("average", AUGUST, 108_510_000)]])),
        )
    ]
    stops = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["tim_00", "tim_01", "exp_00", "tsk_1", "prj_2", "con_2"]),
                st.sampled_from(["MANUAL", "LABOUR_CHECK", "DUPLICATE_SUSPECT"]),
            ),
            max_size=2,
        )
    )
    has = st.tuples(
        st.sampled_from([row["gid"] for row in (*entries, *expenses)] or ["tim_00"]),
        st.sampled_from(["cus_7", "cus_8", "cus_9"]),
        cents,
        st.sampled_from([0, 1, 30, 240]),
    )
    paid = [] if fresh else draw(st.lists(has, max_size=6))
    return RunFacts(
        paid=pl.DataFrame(paid, schema={n: c.dtype for n, c in PAID_SHARES.columns.items()}, orient="row"),
        entries=make.entries(*entries),
        expenses=make.expenses(*expenses),
        projects=make.projects(*rows),
        rates=make.rates(*[draw(selected_rates(n)) for n in range(draw(st.integers(1, 8)))]),
        terms=terms,
        fx_rates=pl.DataFrame(fx, schema={name: column.dtype for name, column in FX_RATES.columns.items()}),
        stops=pl.DataFrame(stops, schema={"scope": pl.String, "code": pl.String}, orient="row"),
        closed=draw(st.sampled_from([(), ("2026-08",)])),
    )
