"""The worked examples of rating, caps, holds, documents: each through a whole run of either engine."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any

import frames_for_tests as make
import polars as pl
from frames_for_tests import eur

from trueup.billing import rerating
from trueup.billing.frames import FX_RATES, RunFacts
from trueup.billing.reference import rerating as plain_rerating
from trueup.billing.reference import run as reference
from trueup.billing.rounding import MILLION, product, rounded
from trueup.billing.run import plan_run
from trueup.billing.terms import (
    Exchange,
    ExpenseRule,
    Increment,
    Minimum,
    Overtime,
    Payer,
    PurchaseOrder,
    Step,
    Terms,
    Tiers,
)
from trueup.kernel.money import from_units, round_money, split

Case = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """What a run of either engine decided, as both write it: see `reference.Expected`."""

    charges: list[tuple[Any, ...]]
    lines: list[tuple[Any, ...]]
    invoices: list[tuple[Any, ...]]
    holds: list[tuple[Any, ...]]

    def amount(self, bucket: str, fact: str | None = None) -> Decimal:
        """Add up what lies in a bucket."""
        return sum(
            (from_units(row[6], "EUR") for row in self.charges if row[4] == bucket and fact in (None, row[1])),
            Decimal(0),
        )

    def net(self) -> Decimal:
        """Add up the invoices."""
        return sum((from_units(row[6], "EUR") for row in self.invoices), Decimal(0))


Engine = Callable[[RunFacts, date, str], Run]


def plainly(facts: RunFacts, upto: date, period: str) -> Run:
    found = reference.plan_run(facts, upto, period)
    return Run(
        sorted(found.charges, key=str), sorted(found.lines), sorted(found.invoices, key=str), sorted(found.holds)
    )


def fast(facts: RunFacts, upto: date, period: str) -> Run:
    found = reference.seen(plan_run(facts, upto, period))
    return Run(
        sorted(found.charges, key=str), sorted(found.lines), sorted(found.invoices, key=str), sorted(found.holds)
    )


def both(case: Callable[[Case, Engine], Case]) -> tuple[Callable[[Case], Case], Callable[[Case], Case]]:
    return (lambda inputs: case(inputs, plainly)), (lambda inputs: case(inputs, fast))


def money(amount: Decimal) -> str:
    return f"{amount:.2f}"


def short(amount: Decimal) -> str:
    return f"{amount:.0f}"


def august(run: Engine, terms: Terms, rows: list[Case], rate: str, **project: Any) -> Run:
    facts = make.facts(
        make.entries(*({"gid": f"tim_{n}", "source_order": n, **row} for n, row in enumerate(rows))),
        projects=make.projects({"buyer_country": "US", **project}),
        rates=make.rates({"rate": eur(rate)}),
    )
    return run(replace(facts, terms={"prj_1": terms}), date(2026, 8, 31), "2026-08")


def s01(inputs: Case, run: Engine) -> Case:
    names = {"resource": None, "role": None, "task": None, "project": None, "contract": None, "valid_to": None}
    lines = [
        {
            **names,
            **{key: value for key, value in line.items() if key not in ("id", "rate", "valid_from", "valid_to")},
            "gid": line["id"],
            "rate": eur(line["rate"]),
            "valid_from": date.fromisoformat(line["valid_from"]),
            "valid_to": date.fromisoformat(line["valid_to"]) if "valid_to" in line else None,
        }
        for line in inputs["lines"]
    ]
    entries = [
        {
            "gid": f"tim_{n}", "source_order": n, "resource": entry["resource"], "role": entry["role"],
            "project": entry["project"], "contract": entry["contract"], "worked_on": date.fromisoformat(entry["date"]),
            "minutes": int(Decimal(entry["hours"]) * 60),
        }
        for n, entry in enumerate(inputs["entries"])
    ]  # fmt: skip
    projects = make.projects(
        {"project": "P1", "contract": "C1", "code": "P1"}, {"project": "P2", "contract": "C2", "code": "P2"}
    )
    facts = make.facts(make.entries(*entries), projects=projects, rates=make.rates(*lines))
    found = {row[1]: row for row in run(facts, date(2026, 4, 30), "2026-04").charges}
    rated = {eur(line["rate"]): line["id"] for line in inputs["lines"]}
    rows = [found[f"tim_{n}"] for n in range(len(entries))]
    return {
        "lines": [None if row[8] is None else rated[row[8]] for row in rows],
        "amounts": [None if row[8] is None else money(from_units(row[6], "EUR")) for row in rows],
        "holds": [row[9] for row in rows],
    }


def s02(inputs: Case, run: Engine) -> Case:
    rows = [{"minutes": minutes, "task": "tsk_1"} for minutes in inputs["minutes"]]

    def billed(*increment: Any) -> str:
        return money(august(run, Terms(increment=Increment(*increment)), rows, inputs["rate"]).net())

    return {
        "exact": billed(1),
        "per_entry_up": billed(inputs["increment"], "up", "entry"),
        "per_day_up": billed(inputs["increment"], "up", "day_per_task"),
        "six_min_up": billed(6, "up", "entry"),
    }


def s03(inputs: Case, run: Engine) -> Case:
    worked = [{"minutes": int(inputs["hours"]) * 60}]
    overtime = Overtime(int(inputs["daily_threshold"]) * 60, None, Decimal(inputs["multiplier"]))
    refused = replace(overtime, accepted=False)
    return {
        "billed": money(august(run, Terms(overtime=overtime), worked, inputs["rate"]).net()),
        "billed_if_client_refuses": money(august(run, Terms(overtime=refused), worked, inputs["rate"]).net()),
    }


def s04(inputs: Case, run: Engine) -> Case:
    rows = [{"minutes": int(amount) * 60 // 100} for _, amount in inputs["entries"]]
    plan = august(run, Terms(), rows, "100", cap=eur(inputs["cap"]), cap_used=eur(inputs["billed"]))
    facts = [f"tim_{n}" for n in range(len(rows))]
    return {
        "lines": [
            [name, amount, short(plan.amount("on_draft", fact)), short(plan.amount("over_cap", fact))]
            for fact, (name, amount) in zip(facts, inputs["entries"], strict=True)
        ],
        "billable": short(plan.net()),
        "held": short(plan.amount("over_cap")),
    }


def s05(inputs: Case, run: Engine) -> Case:
    terms = Terms(daily_cap_minutes=int(inputs["daily_cap_hours"]) * 60)
    plan = august(run, terms, [{"minutes": int(inputs["hours"]) * 60}], inputs["rate"])
    over = plan.amount("over_cap")
    [(_, code, _, minutes)] = plan.holds
    assert code == "CAP_DAILY"
    return {
        "billable": money(plan.net()),
        "over_cap_hours": str(minutes // 60),
        "over_cap_value": money(over),
        "realisation_percent": f"{100 * plan.net() / (plan.net() + over):.1f}",
    }


def s12(inputs: Case, run: Engine) -> Case:
    def spent(amount: str, rule: ExpenseRule, **row: Any) -> str:
        facts = make.facts(
            expenses=make.expenses({"amount": eur(amount), **row}),
            projects=make.projects({"pass_through": True, "buyer_country": "US"}),
        )
        terms = {"prj_1": Terms(expenses={"Hotel": rule})}
        return money(run(replace(facts, terms=terms), date(2026, 8, 31), "2026-08").net())

    abroad = {"currency_spent": "CHF", "card_rate_e8": 106_020_000}
    assert len(inputs["cases"]) == 3
    return {
        "markup10": spent("432.10", ExpenseRule(markup_share=Decimal("0.1"))),
        "chf": spent("318.40", ExpenseRule(), **abroad),
        "chf_markup5": spent("318.40", ExpenseRule(markup_share=Decimal("0.05")), **abroad),
        "vat_strip": spent("119.00", ExpenseRule(recoverable_share=Decimal("0.19"))),
    }


def s14(inputs: Case, run: Engine) -> Case:
    ends = [int(name.removeprefix("to ")) * 60 if name != "above" else None for name, _ in inputs["tiers"]]
    steps = tuple(Step(end, Decimal(rate)) for end, (_, rate) in zip(ends, inputs["tiers"], strict=True))

    def billed(kind: Any, hours: int) -> str:
        # A day has 24 hours: the work is spread over entries of ten.
        whole, rest = divmod(hours, 10)
        rows = [{"minutes": 600}] * whole + ([{"minutes": rest * 60}] if rest else [])
        return short(august(run, Terms(tiers=Tiers(kind, steps)), rows, "1").net())

    return {
        "graduated": billed("graduated", inputs["hours"]),
        "volume": billed("volume", inputs["hours"]),
        "volume200": billed("volume", 200),
        "volume201": billed("volume", 201),
    }


def s15(inputs: Case, run: Engine) -> Case:
    terms = Terms(minimum=Minimum(Decimal(inputs["minimum"])))
    plan = august(run, terms, [{"minutes": 60}], inputs["charges"])
    [top_up] = [row for row in plan.charges if row[2] == "minimum"]
    return {"true_up": money(from_units(top_up[6], "EUR"))}


def s18(inputs: Case, run: Engine) -> Case:
    left = next(c["problem"] for c in inputs["charges"] if "PO has" in c.get("problem", "")).split()[2]
    rows = [
        {
            "minutes": 60,
            "status": "submitted" if charge.get("problem") == "unapproved" else "approved",
            "role": "Nobody" if charge.get("problem") == "no rate" else "Consultant",
            # The one that finds the order nearly used up is the last to draw on it.
            "worked_on": date(2026, 8, 20 if "PO has" in charge.get("problem", "") else 3),
        }
        for charge in inputs["charges"]
    ]
    clean = sum("problem" not in charge for charge in inputs["charges"])
    order = PurchaseOrder("4711", Decimal(left) + 1000 * clean)
    plan = august(run, Terms(po_required=True, purchase_orders=(order,)), rows, "1000.00")
    standard = {"RATE_MISSING": "1000.00"}
    return {
        "invoice": money(plan.net()),
        "held": [
            [code, standard.get(code, money(from_units(amount, "EUR")))]
            for _, code, amount, _ in sorted(plan.holds, key=lambda hold: hold[0])
        ],
    }


def s19(inputs: Case, run: Engine) -> Case:
    def shared(total: str, weights: list[int]) -> list[str]:
        terms = Terms(payers=tuple(Payer(f"cus_{n}", Decimal(w), "US") for n, w in enumerate(weights)))
        plan = august(run, terms, [{"minutes": 60}], total)
        return [money(from_units(row[6], "EUR")) for row in sorted(plan.invoices)]

    ssp = inputs["ssp"]
    total = Decimal(ssp["total"])
    naive = [round_money(total * w / sum(ssp["weights"]), "EUR") for w in ssp["weights"]]
    assert split(total, ssp["weights"], "EUR") == [Decimal(part) for part in shared(ssp["total"], ssp["weights"])]
    return {
        "a": shared(**inputs["a"]),
        "b": shared(**inputs["b"]),
        "ssp": shared(**ssp),
        "naive": [money(part) for part in naive],
    }


def s22b(inputs: Case, run: Engine) -> Case:
    def rate(day: str, value: str, purpose: str = "day") -> Case:
        return {
            "from_currency": "EUR", "to_currency": "USD", "purpose": purpose, "day": date.fromisoformat(day),
            "rate_e8": int(Decimal(value) * 10**8), "source": "the bank",
        }  # fmt: skip

    published = [rate(day, value) for day, _, value in inputs["entries"]]
    published += [rate("2026-03-31", inputs["invoice_rate"]), rate("2026-03-01", inputs["period_avg"], "average")]
    entries = [
        {"gid": f"tim_{n}", "worked_on": date.fromisoformat(day), "minutes": int(Decimal(amount) / 100 * 60)}
        for n, (day, amount, _) in enumerate(inputs["entries"])
    ]
    project = {"currency": "USD", "seller_country": "US", "buyer_country": "US"}

    def billed(policy: Any) -> Run:
        facts = make.facts(
            make.entries(*entries), projects=make.projects(project), rates=make.rates({"rate": eur("100")})
        )
        fx = pl.DataFrame(published, schema={name: column.dtype for name, column in FX_RATES.columns.items()})
        terms = {"prj_1": Terms(exchange=Exchange("EUR", policy, Decimal(inputs["contract"])))}
        return run(replace(facts, terms=terms, fx_rates=fx), date(2026, 3, 31), "2026-03")

    by_day = billed("service_date")
    return {
        "work_date": [
            *(money(by_day.amount("on_draft", f"tim_{n}")) for n in range(len(entries))), money(by_day.net())
        ],
        "invoice_date": money(billed("invoice_date").net()),
        "average": money(billed("period_average").net()),
        "fixed": money(billed("fixed").net()),
    }  # fmt: skip


def s25(inputs: Case, run: Engine) -> Case:
    # Three lines at three rates would be three prices: the lines are apart by task.
    rows = [{"minutes": 60, "task": f"tsk_{n}"} for n in range(len(inputs["lines"]))]
    plan = august(run, Terms(lines_by=("task",)), rows, inputs["lines"][0], buyer_country="DE")
    [invoice] = plan.invoices
    net, tax, gross = (from_units(units, "EUR") for units in invoice[6:9])
    percent = Decimal(inputs["rate_percent"])
    by_line = sum(round_money(from_units(row[4], "EUR") * percent / 100, "EUR") for row in plan.lines)
    swiss = rerating.to_five_rappen(Decimal("1234.53"))
    away = pl.DataFrame({"net": [-eur("6491.34")]}).select(rounded(product(pl.col("net"), 250_000), MILLION)).item()
    mirrored = round_money(Decimal("-6491.34") * Decimal("0.25"), "EUR")
    assert from_units(away, "EUR") == mirrored
    return {
        "net": money(net),
        "vat_by_category": money(tax),
        "vat_by_line": money(Decimal(by_line)),
        "total_by_category": money(gross),
        "half_away": money(mirrored),
        "swiss_cash": {
            "total": "1234.53", "payable_rounding": money(swiss - Decimal("1234.53")), "payable": money(swiss),
        },
    }  # fmt: skip


def s26(inputs: Case, run: Engine) -> Case:
    day = date.fromisoformat(inputs["service_date"])
    period = inputs["approved"][:7]
    facts = make.facts(
        make.entries({"worked_on": day}), projects=make.projects({}), rates=make.rates({"rate": eur("100")})
    )
    plan = run(replace(facts, closed=tuple(inputs["closed"])), date(2026, 2, 28), period)
    [charge], [invoice] = plan.charges, plan.invoices
    billed = f"{invoice[3]:%Y-%m}"
    return {
        "billing_period": billed,
        "service_date": charge[13].isoformat(),
        "revenue_period": billed,
        "origin_period": charge[14],
    }


def s27(inputs: Case, run: Engine) -> Case:
    terms = Terms(po_required=True, purchase_orders=(PurchaseOrder("4711", Decimal(inputs["po_left"])),))
    plan = august(run, terms, [{"minutes": 480}], str(Decimal(inputs["charge"]) / 8))
    [(_, code, amount, _)] = plan.holds
    return {"billed": money(plan.net()), "held": [code, money(from_units(amount, "EUR"))]}


def s17_plain(inputs: Case) -> Case:
    retro, fixed = inputs["retroactive"], inputs["fixed"]
    minutes = int(retro["hours_billed"]) * 60
    delta = plain_rerating.rate_delta(minutes, Decimal(retro["old_rate"]), Decimal(retro["new_rate"]), "EUR")
    old, new = Decimal(fixed["old_fee"]), Decimal(fixed["new_fee"])
    billed = Decimal(fixed["billed"])
    catch_up = plain_rerating.fee_catch_up(old, new, Decimal(fixed["progress"]), billed, "EUR")
    return {"delta_line": money(delta), "catch_up": money(catch_up)}


def s17_fast(inputs: Case) -> Case:
    retro, fixed = inputs["retroactive"], inputs["fixed"]
    billed = pl.DataFrame(
        {
            "minutes": [int(retro["hours_billed"]) * 60],
            "old_rate": [eur(retro["old_rate"])],
            "new_rate": [eur(retro["new_rate"])],
        }
    )
    fees = pl.DataFrame(
        {
            "old_fee": [eur(fixed["old_fee"])], "new_fee": [eur(fixed["new_fee"])],
            "progress_ppm": [int(Decimal(fixed["progress"]) * MILLION)], "billed": [eur(fixed["billed"])],
        }
    )  # fmt: skip
    return {
        "delta_line": money(from_units(rerating.rate_deltas(billed)["delta"][0], "EUR")),
        "catch_up": money(from_units(rerating.fee_catch_ups(fees)["catch_up"][0], "EUR")),
    }


ENGINES = {
    "S01": both(s01), "S02": both(s02), "S03": both(s03), "S04": both(s04), "S05": both(s05), "S12": both(s12),
    "S14": both(s14), "S15": both(s15), "S17": (s17_plain, s17_fast), "S18": both(s18), "S19": both(s19),
    "S22b": both(s22b), "S25": both(s25), "S26": both(s26), "S27": both(s27),
}  # fmt: skip
