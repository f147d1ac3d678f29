"""How long a billing run of 100,000 time entries takes; fails above its budget."""

import random
import sys
import time
from datetime import date, timedelta

import polars as pl

from trueup.billing.buckets import broken_laws
from trueup.billing.frames import EXPENSES, RunFacts
from trueup.billing.run import plan_run

ENTRIES = 100_000
PROJECTS = 200
ROLES = ("Partner", "Principal", "Consultant", "Analyst")
BUDGET_SECONDS = 1.0
END = date(2026, 8, 31)


def firm() -> RunFacts:
    """Make up a month of a large firm, the same every time: a third of the projects capped, a quarter fixed fee."""
    draw = random.Random(7)
    numbers = [draw.randrange(PROJECTS) for _ in range(ENTRIES)]
    minutes = [draw.randrange(1, 32) * 15 for _ in range(ENTRIES)]
    entries = pl.DataFrame(
        {
            "gid": [f"tim_{n:07d}" for n in range(ENTRIES)],
            "fact_version": [1] * ENTRIES,
            "source_order": range(ENTRIES),
            "contract": [f"con_{n}" for n in numbers],
            "project": [f"prj_{n}" for n in numbers],
            "role": [draw.choice(ROLES) for _ in range(ENTRIES)],
            "resource": ["res_1"] * ENTRIES,
            "worked_on": [END - timedelta(days=draw.randrange(31)) for _ in range(ENTRIES)],
            "minutes": minutes,
            "open_minutes": minutes,
            "allocated_amount": [0] * ENTRIES,
            "billable": [draw.random() > 0.04 for _ in range(ENTRIES)],
            "status": ["approved"] * ENTRIES,
        }
    )
    projects = pl.DataFrame(
        {
            "project": f"prj_{n}",
            "code": f"D{n:03d}-DE01",
            "contract": f"con_{n}",
            "legal_entity": "DE01",
            "currency": "EUR",
            "bill_to": f"cus_{n}",
            "terms_days": 30,
            "seller_country": "DE",
            "buyer_country": ("DE", "FR", "US")[n % 3],
            "buyer_has_tax_id": True,
            "contract_active": True,
            "method": "fixed_fee" if n % 4 == 0 else "time_and_materials",
            "line_key": f"D{n:03d}-L1",
            "cap": 900_000_000_000 if n % 3 == 0 else None,
            "cap_used": 0,
            "pass_through": False,
            "pass_through_line": None,
            "markup_ppm": 0,
            "monthly_fee": None,
            "included_minutes": None,
            "overage_rate": None,
            "period_included_used": 0,
            "fees_due": [],
        }
        for n in range(PROJECTS)
    )
    rates = pl.DataFrame(
        {
            "gid": f"rul_{n}_{role}_{month}",
            "contract": f"con_{n}",
            "role": role,
            "currency": "EUR",
            "rate": draw.randrange(100, 400) * 1_000_000 + 500_000,
            "valid_from": date(2026, month, 1),
            "valid_to": None,
        }
        for n in range(PROJECTS)
        for role in ROLES
        for month in (1, 8)
    )
    return RunFacts(entries, EXPENSES.empty(), projects, rates)


def main() -> int:
    """Run five times and hold the median against the budget."""
    facts = firm()
    took = []
    for _ in range(5):
        start = time.perf_counter()
        plan = plan_run(facts, END, "2026-08")
        took.append(time.perf_counter() - start)
    median = sorted(took)[2]
    broken = broken_laws(facts, plan, END)
    print(f"billing run: {ENTRIES:,} entries, {plan.invoices.height} drafts, median {median:.3f} s of 5")
    print(f"laws broken: {broken or 'none'}; budget {BUDGET_SECONDS} s")
    return 1 if broken or median > BUDGET_SECONDS else 0


if __name__ == "__main__":
    sys.exit(main())
