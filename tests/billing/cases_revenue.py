"""Worked examples of revenue, in both engines: adapters from a case's inputs to obligations, and back to its table."""

from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import obligation_frames
import polars as pl
from frames_for_tests import eur, in_eur

from trueup.billing import metrics
from trueup.billing.frames import (
    ACCEPTANCES,
    ADVANCES,
    BACKLOG_MOVES,
    BILLED_MONTHS,
    EARNINGS,
    LINE_POSITIONS,
    POSTED,
    PROGRESS,
    REALISED,
    RECEIVABLE_DAYS,
    REVENUE_LINES,
    WORK_USED,
    Shape,
)
from trueup.billing.journals import entries
from trueup.billing.obligations import release_advances
from trueup.billing.reference import metrics as reference_metrics
from trueup.billing.reference import revenue as plain
from trueup.billing.reference.revenue import Books, Promise, Quantity, State, Term
from trueup.billing.revenue import RevenueFacts, recognise
from trueup.billing.rounding import HOUR, rounded
from trueup.kernel.money import round_money
from trueup.kernel.periods import last_day

Row = dict[str, Any]
Measure = Callable[[Promise, date, date], State]
START = date(2026, 1, 1)
MONTHS = ["Jan", "Feb", "Mar", "Apr", "May"]


def ends(count: int) -> list[date]:
    return [last_day(f"2026-{month:02d}") for month in range(1, count + 1)]


def fast(promise: Promise, cut: date, known: date) -> State:
    return obligation_frames.states([promise], cut, known)[0]


def share(done: Decimal, whole: Decimal | None, digits: int = 4) -> str:
    return f"{round(done * 100 / (whole or 1), digits):.{digits}f}"


def cents(amount: Decimal) -> str:
    return f"{amount:.2f}"


def by_month(method: str, measure: str, fee: str, done: list[Any], expected: list[Any], factor: int = 1) -> Promise:
    months = ends(len(done))
    return Promise(
        method,
        terms=[Term(START, "price", Decimal(fee))],
        performed=[Quantity(day, measure, Decimal(one) * factor) for day, one in zip(months, done, strict=True)],
        estimates=[Quantity(day, measure, Decimal(one) * factor) for day, one in zip(months, expected, strict=True)],
    )


# --- as invoiced ------------------------------------------------------------------------------------------------------


def table_of_months(inputs: Row, positions: Sequence[tuple[Decimal, Decimal, Decimal]]) -> Row:
    costs = [*map(Decimal, inputs["cost"]), Decimal(0)]
    table, earned, invoiced = [], Decimal(0), Decimal(0)
    for month, cost, (recognised, billed, unbilled) in zip(MONTHS, costs, positions, strict=False):
        now, bill = recognised - earned, billed - invoiced
        earned, invoiced = recognised, billed
        table.append({
            "month": month, "billed": f"{bill:.0f}", "recognised": f"{now:.0f}", "unbilled": f"{unbilled:.0f}",
            "cost": f"{cost:.0f}", "margin": f"{now - cost:.0f}",
        })  # fmt: skip
    return {"table": table}


def r1_reference(inputs: Row) -> Row:
    value = [*map(Decimal, inputs["value"]), Decimal(0)]
    found = []
    for month in range(len(value)):
        after = Books(sum(value[: month + 1], Decimal(0)), sum(value[:month], Decimal(0)), receivable_claim=True)
        unbilled = plain.journal(Books(receivable_claim=True), after).get("1150", Decimal(0))
        found.append((after.recognised, after.billed, unbilled))
    return table_of_months(inputs, found)


def rows(shape: Shape, *given: Row) -> pl.DataFrame:
    return pl.DataFrame(given, schema={name: column.dtype for name, column in shape.columns.items()})


def r1_vectorised(inputs: Row) -> Row:
    line = {"contract": "con_1", "contract_line": "L1"}
    months, value = ends(4), inputs["value"]
    charges = [
        {**line, "amount": eur(one), "bucket": "on_draft", "earned_on": day}
        for one, day in zip(value, months, strict=False)
    ]
    posted = [
        {**line, "document": "invoice", "net": eur(one), "dated_on": day}
        for one, day in zip(value, months[1:], strict=True)
    ]
    facts = RevenueFacts(
        rows(REVENUE_LINES, {**line, "legal_entity": "DE01", "currency": "EUR", "method": "as_invoiced", "fee": 0}),
        rows(EARNINGS, *charges), ACCEPTANCES.empty(), PROGRESS.empty(), rows(POSTED, *posted),
    )  # fmt: skip
    found: list[tuple[Decimal, Decimal, Decimal]] = []
    previous = LINE_POSITIONS.empty()
    for day in months:
        plan = recognise(facts, day, previous)
        [at] = plan.contracts.to_dicts()
        recognised, billed, unbilled = (Decimal(in_eur(at[name])) for name in ("recognised", "billed", "unbilled"))
        found.append((recognised, billed, unbilled))
        previous = plan.lines
    return table_of_months(inputs, found)


# --- measured by input ------------------------------------------------------------------------------------------------


def r2(measure: Measure) -> Callable[[Row], Row]:
    def table(inputs: Row) -> Row:
        promise = by_month("cost_to_cost", "cost", inputs["fee"], inputs["cost"], inputs["eac"])
        found, earned, billed = [], Decimal(0), 0
        for at, day in enumerate(ends(5)):
            now = measure(promise, day, day)
            billed += inputs["billed"][at]
            revenue, cost = now.recognised - earned, inputs["cost"][at]
            earned = now.recognised
            found.append({
                "month": MONTHS[at], "cost": cost, "cum_cost": int(now.cost), "eac": int(now.expected_cost or 0),
                "pct": share(now.done, now.whole), "cum_rev": cents(earned), "rev": cents(revenue),
                "billed": inputs["billed"][at], "cum_billed": billed, "position": cents(earned - billed),
                "margin": cents(revenue - cost),
            })  # fmt: skip
        return {"table": found}

    return table


def r3(measure: Measure) -> Callable[[Row], Row]:
    def table(inputs: Row) -> Row:
        promise = by_month("hours", "minutes", inputs["fee"], inputs["hours"], inputs["eac_hours"], HOUR)
        found, earned = [], Decimal(0)
        for at, day in enumerate(ends(4)):
            now = measure(promise, day, day)
            found.append({
                "month": MONTHS[at], "hours": inputs["hours"][at], "cum": int(now.done / HOUR),
                "eac_hours": inputs["eac_hours"][at], "pct": share(now.done, now.whole),
                "rev": cents(now.recognised - earned), "cum_rev": cents(now.recognised),
            })  # fmt: skip
            earned = now.recognised
        return {"table": found}

    return table


def r4(measure: Measure) -> Callable[[Row], Row]:
    def quarters(inputs: Row) -> Row:
        first, second = date(2026, 3, 31), date(2026, 6, 30)
        one, two = inputs["q1"], inputs["q2"]
        promise = Promise(
            "cost_to_cost",
            terms=[Term(START, "price", Decimal(inputs["fee"]))],
            performed=[Quantity(first, "cost", Decimal(one["cost"])),
                       Quantity(second, "cost", Decimal(two["cum_cost"]) - Decimal(one["cost"]))],
            estimates=[Quantity(START, "cost", Decimal(one["eac"])), Quantity(second, "cost", Decimal(two["eac"]))],
        )  # fmt: skip
        q1, q2 = measure(promise, first, first), measure(promise, second, second)
        expected = q2.expected_cost or Decimal(0)
        return {
            "q1": {"pct": share(q1.done, q1.whole, 2), "rev": cents(q1.recognised)},
            "q2": {
                "cum_cost": int(q2.cost), "eac": int(expected), "pct": share(q2.done, q2.whole, 2),
                "cum_rev": cents(q2.recognised), "rev_q2": cents(q2.recognised - q1.recognised),
                "total_loss": cents(q2.price - expected), "loss_to_date": cents(q2.recognised - q2.cost),
                "provision": cents(q2.provision),
            },
        }  # fmt: skip

    return quarters


def r5(measure: Measure) -> Callable[[Row], Row]:
    def daily(inputs: Row) -> Row:
        first, last = (date.fromisoformat(inputs[f"service_{end}"]) for end in ("start", "end"))
        promise = Promise("ratable", terms=[Term(first, "price", Decimal(inputs["amount"]), last)], service_from=first)
        found, earned = [], Decimal(0)
        for day in plain.months(first, last):
            now = measure(promise, day, day)
            found.append([str(day), cents(now.recognised - earned), cents(now.price - now.recognised)])
            earned = now.recognised
        return {"daily": found}

    return daily


def r7(measure: Measure) -> Callable[[Row], Row]:
    def catch_up(inputs: Row) -> Row:
        year, then = date(2026, 12, 31), date(2027, 1, 31)
        promise = Promise(
            "cost_to_cost",
            terms=[Term(START, "price", Decimal(inputs["price"])),
                   Term(then, "catch_up", Decimal(inputs["price_added"])),
                   Term(then, "variable", Decimal(inputs["bonus_now_included"]))],
            performed=[Quantity(year, "cost", Decimal(inputs["year_1_cost"]))],
            estimates=[Quantity(START, "cost", Decimal(inputs["cost"])),
                       Quantity(then, "cost", Decimal(inputs["cost"]) + Decimal(inputs["cost_added"]))],
        )  # fmt: skip
        before, after = measure(promise, year, year), measure(promise, year, then)
        # The standard's own text rounds the ratio to 51.2 % first; we never do, and show by how much it differs.
        coarse = round(after.done / (after.whole or 1), 3) * after.price - before.recognised
        return {
            "y1": cents(before.recognised),
            "exact": cents(after.recognised - before.recognised),
            "with_512": f"{coarse:.3f}",
        }

    return catch_up


def r9(measure: Measure) -> Callable[[Row], Row]:
    def materials(inputs: Row) -> Row:
        day = ends(1)[0]
        promise = Promise(
            "cost_to_cost",
            terms=[Term(START, "price", Decimal(inputs["price"]))],
            performed=[Quantity(day, "materials", Decimal(inputs["materials_cost"])),
                       Quantity(day, "cost", Decimal(inputs["other_cost_to_date"]))],
            estimates=[Quantity(START, "materials", Decimal(inputs["materials_cost"])),
                       Quantity(START, "cost", Decimal(inputs["other_cost"]))],
        )  # fmt: skip
        now = measure(promise, day, day)
        return {
            "pct": share(now.done, now.whole, 2),
            "rev": cents(now.recognised),
            "cost": f"{now.cost:.0f}",
            "profit": f"{now.recognised - now.cost:.0f}",
        }

    return materials


# --- a correction, and an advance -------------------------------------------------------------------------------------


def correction(inputs: Row) -> tuple[Decimal, Decimal]:
    net = round_money(Decimal(inputs["hours_moved"]) * Decimal(inputs["rate"]), "EUR")
    return net, round_money(net * Decimal(inputs["vat_percent"]) / 100, "EUR")


def in_order(amounts: dict[str, Decimal]) -> list[list[str]]:
    booked = [[account, cents(max(one, Decimal(0))), cents(max(-one, Decimal(0)))] for account, one in amounts.items()]
    debits_first = sorted(booked, key=lambda line: (-Decimal(line[1]), line[0]))
    return debits_first


def r10_reference(inputs: Row) -> Row:
    net, tax = correction(inputs)
    whole = Books(recognised=Decimal(8000), billed=Decimal(8000), tax=Decimal(1520), receivable_claim=True)
    less = Books(whole.recognised - net, whole.billed - net, whole.tax - tax, receivable_claim=True)
    return {"journal": in_order(plain.journal(whole, less)), "origin_period": "2026-01"}


def r10_vectorised(inputs: Row) -> Row:
    net, tax = correction(inputs)
    line = {"contract": "con_1", "contract_line": "L1"}
    january, march = date(2026, 1, 31), date(2026, 3, 31)
    facts = RevenueFacts(
        rows(REVENUE_LINES, {**line, "legal_entity": "DE01", "currency": "EUR", "method": "as_invoiced", "fee": 0}),
        rows(EARNINGS, {**line, "amount": eur("8000"), "bucket": "invoiced", "earned_on": january}),
        ACCEPTANCES.empty(),
        PROGRESS.empty(),
        rows(POSTED, {**line, "document": "invoice", "net": eur("8000"), "dated_on": january},
             {**line, "document": "credit", "net": eur(str(net)), "dated_on": march, "origin_period": "2026-01"}),
    )  # fmt: skip
    before = recognise(facts, date(2026, 2, 28), LINE_POSITIONS.empty())
    after = recognise(facts, march, before.lines)
    moved = after.contracts.with_columns(tax_delta=pl.lit(-eur(str(tax)), pl.Int64))
    booked = {row["account"]: Decimal(in_eur(row["amount"])) for row in entries(moved, documents=True).to_dicts()}
    [origin] = after.origins["origin_period"].unique().to_list()
    return {"journal": in_order(booked), "origin_period": origin}


def r11(
    released: Callable[[Decimal, Decimal, Decimal], Decimal], convert: Callable[[Decimal, Decimal], Decimal]
) -> Any:
    def advance(inputs: Row) -> Row:
        usd, rest = Decimal(inputs["advance_usd"]), Decimal(inputs["balance_usd"])
        booked = convert(usd, Decimal(inputs["usd_per_eur_at_advance"]))
        return {
            "adv": cents(booked),
            "rec": cents(released(usd, booked, usd + rest)),
            "rest_usd": f"{rest:.0f}",
            "inv_rate": cents(convert(rest, Decimal(inputs["usd_per_eur_at_invoice"]))),
        }

    return advance


def released_plain(amount: Decimal, functional: Decimal, earned: Decimal) -> Decimal:
    return plain.release([(amount, functional)], earned, "EUR")[0]


def released_fast(amount: Decimal, functional: Decimal, earned: Decimal) -> Decimal:
    advances = rows(ADVANCES, {
        "contract": "con_1", "advance": "A1", "received_on": START, "amount": eur(str(amount)),
        "functional": eur(str(functional)),
    })  # fmt: skip
    used = release_advances(advances, pl.DataFrame({"contract": ["con_1"], "recognised": [eur(str(earned))]}))
    return Decimal(in_eur(used["functional_released"].item()))


def converted_fast(amount: Decimal, rate: Decimal) -> Decimal:
    one = pl.DataFrame({"amount": [eur(str(amount)) * 100], "rate": [int(rate * 100)]})
    return Decimal(in_eur(one.select(rounded(pl.col("amount"), pl.col("rate"))).item()))


# --- figures ----------------------------------------------------------------------------------------------------------

PLACE = {"legal_entity": "DE01", "currency": "EUR"}
DAYS_OF = {"Jan": 31, "Feb": 28, "Mar": 31}


def m1_reference(inputs: Row) -> Row:
    owed, due_later = Decimal(inputs["ar"]), Decimal(inputs["ar_not_due"])
    billed = {month: Decimal(amount) for month, amount in inputs["billed"].items()}
    total, days = sum(billed.values(), Decimal(0)), sum(DAYS_OF[month] for month in billed)
    newest_first = [(DAYS_OF[month], billed[month]) for month in reversed(billed)]
    return {
        "dso_simple": str(reference_metrics.ratio(owed, total, days)),
        "dso_countback": str(reference_metrics.count_back(owed, newest_first)),
        "best_possible_dso": str(reference_metrics.ratio(due_later, total, days)),
        "average_days_delinquent": str(reference_metrics.ratio(owed - due_later, total, days)),
    }


def tenth(value: int) -> str:
    return str(Decimal(value).scaleb(-1))


def m1_vectorised(inputs: Row) -> Row:
    months = [
        {**PLACE, "month": f"2026-{at:02d}", "days": DAYS_OF[name], "billed": eur(amount), "owed": eur(inputs["ar"])}
        for at, (name, amount) in enumerate(inputs["billed"].items(), 1)
    ]
    span = {
        **PLACE, "owed": eur(inputs["ar"]), "not_due": eur(inputs["ar_not_due"]), "unbilled": 0, "billed_year": 0,
        "billed": sum(row["billed"] for row in months), "days": sum(row["days"] for row in months),
    }  # fmt: skip
    [found] = metrics.receivable_days(rows(RECEIVABLE_DAYS, span)).to_dicts()
    return {
        "dso_simple": tenth(found["dso"]),
        "dso_countback": tenth(metrics.count_back(rows(BILLED_MONTHS, *months))["dso_count_back"].item()),
        "best_possible_dso": tenth(found["best_possible_dso"]),
        "average_days_delinquent": tenth(found["average_days_delinquent"]),
    }


def m2_reference(inputs: Row) -> Row:
    it = {name: Decimal(value) for name, value in inputs.items()}
    available = it["capacity_hours"] - it["leave_hours"]

    def percent(top: Decimal, below: Decimal) -> str:
        return str(reference_metrics.ratio(top, below, 100))

    return {
        "available_hours": str(available),
        "billable_utilisation": percent(it["billable_hours"], available),
        "client_utilisation": percent(it["client_hours"], available),
        "rate_per_standard_hour": str(
            reference_metrics.effective_rate(it["standard_value"], it["billable_hours"], "EUR")
        ),
        "billing_realisation": percent(it["billed_value"], it["standard_value"]),
        "collection_realisation": percent(it["collected"], it["billed_value"]),
        "overall_realisation": percent(it["collected"], it["standard_value"]),
        "effective_rate": str(reference_metrics.effective_rate(it["billed_value"], it["billable_hours"], "EUR")),
    }


def m2_vectorised(inputs: Row) -> Row:
    hours = {name: int(value) for name, value in inputs.items() if name.endswith("_hours")}
    available = hours["capacity_hours"] - hours["leave_hours"]
    used = {
        "available": available * HOUR * 5,
        "billable": hours["billable_hours"] * HOUR,
        "client": hours["client_hours"] * HOUR,
    }
    [labour] = metrics.labour_ratios(rows(WORK_USED, used)).to_dicts()
    billed = {
        **PLACE, "minutes": hours["billable_hours"] * HOUR, "standard": eur(inputs["standard_value"]),
        "billed": eur(inputs["billed_value"]), "collected": eur(inputs["collected"]),
    }  # fmt: skip
    [found] = metrics.realisation(rows(REALISED, billed)).to_dicts()
    [standard] = metrics.realisation(rows(REALISED, {**billed, "billed": billed["standard"]})).to_dicts()
    return {
        "available_hours": str(available),
        "billable_utilisation": tenth(labour["utilisation"]),
        "client_utilisation": tenth(labour["client_utilisation"]),
        "rate_per_standard_hour": in_eur(standard["effective_rate"]),
        **{
            name: tenth(found[name])
            for name in ("billing_realisation", "collection_realisation", "overall_realisation")
        },
        "effective_rate": in_eur(found["effective_rate"]),
    }


M3 = ("opening", "bookings", "change_orders", "cancelled", "recognised", "fx")


def m3_reference(inputs: Row) -> Row:
    return {"closing": str(reference_metrics.closing(*(Decimal(inputs[name]) for name in M3)))}


def m3_vectorised(inputs: Row) -> Row:
    moved = rows(BACKLOG_MOVES, {"currency": "EUR", **{name: eur(inputs[name]) for name in M3}})
    return {"closing": f"{Decimal(in_eur(metrics.roll_forward(moved)['closing'].item())):.0f}"}


ENGINES: dict[str, tuple[Callable[[Row], Row], Callable[[Row], Row]]] = {
    "M1": (m1_reference, m1_vectorised),
    "M2": (m2_reference, m2_vectorised),
    "M3": (m3_reference, m3_vectorised),
    "R1": (r1_reference, r1_vectorised),
    "R10": (r10_reference, r10_vectorised),
    "R11": (
        r11(released_plain, lambda amount, rate: plain.at_rate(amount, rate, "EUR")),
        r11(released_fast, converted_fast),
    ),
} | {
    id: (case(plain.state), case(fast))
    for id, case in (("R2", r2), ("R3", r3), ("R4", r4), ("R5", r5), ("R7", r7), ("R9", r9))
}
