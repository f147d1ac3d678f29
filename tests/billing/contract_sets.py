"""Hypothesis strategies: small firms with every billing method, odd rates, tight caps and untidy facts."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import frames_for_tests as make
from hypothesis import strategies as st

from trueup.billing.frames import RunFacts
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
        "fees_due": draw(st.sampled_from([[], ["2026-08"], ["2026-07", "2026-08"]])),
        "terms_days": draw(st.sampled_from([0, 30, 45])),
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
