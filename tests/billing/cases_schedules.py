"""The worked examples of schedules, retainers, prepayments, per diem, currency and corrections, in both engines.

Each callable turns a case's inputs into what the engine takes and its answer into the case's figures; it works out
nothing itself.
"""

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import polars as pl

from trueup.billing import corrections, fx, per_diem, prepayments, retainers, schedules
from trueup.billing.frames import Shape
from trueup.billing.reference import corrections as plain_corrections
from trueup.billing.reference import fx as plain_fx
from trueup.billing.reference import per_diem as plain_per_diem
from trueup.billing.reference import prepayments as plain_prepayments
from trueup.billing.reference import retainers as plain_retainers
from trueup.billing.reference import schedules as plain_schedules
from trueup.kernel.money import from_units, to_units

Inputs = dict[str, Any]
Engine = Callable[[Inputs], Any]
LAST = date(2026, 12, 31)
NOUGHT = Decimal(0)


def frame(shape: Shape, *rows: Sequence[Any]) -> pl.DataFrame:
    schema = {name: column.dtype for name, column in shape.columns.items()}
    return pl.DataFrame(list(rows), schema=schema, orient="row")


def units(amount: Any, currency: str = "EUR") -> int:
    return to_units(Decimal(str(amount)), currency)


def ppm(percent: Any) -> int:
    return int(Decimal(str(percent)) * 10_000)


def cents(amount: Decimal) -> str:
    return f"{amount:.2f}"


def seen(amounts: pl.Series) -> list[str]:
    return [cents(from_units(amount, "EUR")) for amount in amounts]


def short(amount: Decimal) -> str:
    """Write whole amounts without cents, as some of the cases do."""
    return f"{amount:.0f}" if amount == amount.to_integral_value() else cents(amount)


# --- S06 --------------------------------------------------------------------------------------------------------------


def s06_reference(inputs: Inputs) -> Any:
    amounts = plain_schedules.milestone_amounts(Decimal(inputs["fee"]), [Decimal(p) for p in inputs["percents"]], "EUR")
    kept = plain_schedules.retained(amounts[1], Decimal(inputs["retention_percent_on_second"]), "EUR")
    return {
        "amounts": [cents(a) for a in amounts],
        "second_invoice": cents(amounts[1] - kept),
        "retention": cents(kept),
    }


def s06_vectorised(inputs: Inputs) -> Any:
    kept = [0, ppm(inputs["retention_percent_on_second"]), 0, 0]
    rows = [
        ("L1", number, units(inputs["fee"]), ppm(percent), kept[number], None)
        for number, percent in enumerate(inputs["percents"])
    ]
    table = schedules.milestone_amounts(frame(schedules.PERCENT_MILESTONES, *rows), LAST)
    return {
        "amounts": seen(table["amount"]),
        "second_invoice": seen(table["invoiced"])[1],
        "retention": seen(table["retained"])[1],
    }


# --- S07, S08 ---------------------------------------------------------------------------------------------------------


def s07_reference(inputs: Inputs) -> Any:
    steps = [(Decimal(inputs["fee"]), Fraction(share)) for share in inputs["progress"]]
    return {"bills": [cents(bill) for bill in plain_schedules.percent_complete(steps, "EUR")]}


def s07_vectorised(inputs: Inputs) -> Any:
    shares = [Fraction(share) for share in inputs["progress"]]
    rows = [("L1", n, units(inputs["fee"]), share.numerator, share.denominator) for n, share in enumerate(shares)]
    return {"bills": seen(schedules.percent_complete(frame(schedules.PROGRESS_STATEMENTS, *rows))["amount"])}


def s08_reference(inputs: Inputs) -> Any:
    return {"bills": [cents(a) for a in plain_schedules.instalments(Decimal(inputs["total"]), inputs["n"], "EUR")]}


def s08_vectorised(inputs: Inputs) -> Any:
    table = schedules.instalments(frame(schedules.INSTALMENT_LINES, ("L1", units(inputs["total"]), inputs["n"])))
    return {"bills": seen(table["amount"])}


# --- S09 --------------------------------------------------------------------------------------------------------------


def service(inputs: Inputs) -> dict[str, tuple[date, date | None, list[tuple[date, Decimal]], date]]:
    """Read the three sentences of the case: first day, last day, prices, last day that is billed."""
    started, ended, changed = (sentence.split() for sentence in inputs["cases"])
    fee, new_year = Decimal(inputs["monthly_fee"]), date(2026, 1, 1)
    starts, ends = date.fromisoformat(started[1]), date.fromisoformat(ended[1])
    dearer = date.fromisoformat(changed[5].rstrip(","))
    first = [(new_year, fee)]
    return {
        "start_12_jan": (starts, None, first, date(2026, 1, 31)),
        "end_18_jun": (ends.replace(day=1), ends, first, LAST),
        "change_16_mar": (dearer.replace(day=1), None, [*first, (dearer, Decimal(changed[3]))], date(2026, 3, 31)),
    }


def s09_shaped(amounts: dict[str, list[Decimal]]) -> Any:
    change = amounts["change_16_mar"]
    return {
        **{name: cents(amounts[name][0]) for name in ("start_12_jan", "end_18_jun")},
        "change_16_mar": [*(cents(a) for a in change), cents(sum(change, NOUGHT))],
    }


def s09_reference(inputs: Inputs) -> Any:
    return s09_shaped(
        {
            name: [part.amount for part in plain_schedules.service_segments(starts, ends, prices, "EUR", upto)]
            for name, (starts, ends, prices, upto) in service(inputs).items()
        }
    )


def s09_vectorised(inputs: Inputs) -> Any:
    amounts = {}
    for name, (starts, ends, prices, upto) in service(inputs).items():
        terms = frame(schedules.SERVICE_TERMS, (name, starts, ends, 1, 1, False, 0, "actual_days"))
        priced = frame(schedules.SERVICE_PRICES, *((name, on, units(price)) for on, price in prices))
        parts = schedules.service_segments(terms, priced, upto)
        amounts[name] = [from_units(amount, "EUR") for amount in parts["amount"]]
    return s09_shaped(amounts)


# --- S10 --------------------------------------------------------------------------------------------------------------


def s10_months(inputs: Inputs) -> list[plain_retainers.Month]:
    assert Decimal(inputs["rate"]) * inputs["hours"] == Decimal(inputs["fee"])  # the rate of revenue is fee / hours
    return [
        plain_retainers.Month(
            Decimal(inputs["fee"]), inputs["hours"] * 60, used * 60, Decimal(inputs["overage"]), inputs["roll_months"],
            inputs["roll_cap"] * 60,
        )
        for used in inputs["usage"]
    ]  # fmt: skip


def s10_shaped(rows: Sequence[Sequence[Any]]) -> Any:
    names = ("used", "overage", "expired", "rolled")
    return {
        "table": [
            {"month": month}
            | {name: minutes // 60 for name, minutes in zip(names, row[:4], strict=True)}
            | {name: short(amount) for name, amount in zip(("billed", "recognised", "liability"), row[4:], strict=True)}
            for month, row in zip(("Jan", "Feb", "Mar", "Apr"), rows, strict=True)
        ]
    }


def s10_reference(inputs: Inputs) -> Any:
    table = plain_retainers.retainer_table(s10_months(inputs), "EUR")
    return s10_shaped(
        [(r.used, r.overage, r.expired, r.rolled, r.billed, r.recognised, r.liability) for r in table]
    )  # fmt: skip


def s10_vectorised(inputs: Inputs) -> Any:
    rows = [
        (
            "R",
            n,
            units(one.fee),
            one.included,
            units(one.overage_rate),
            one.roll_months,
            one.roll_cap,
            True,
            0,
            one.used,
        )
        for n, one in enumerate(s10_months(inputs), 1)
    ]
    table = retainers.retainer_table(frame(retainers.RETAINER_MONTHS, *rows)).drop(
        "retainer", "month", "from_roll_over"
    )
    return s10_shaped([(*row[:4], *(from_units(amount, "EUR") for amount in row[4:])) for row in table.iter_rows()])


# --- S11 --------------------------------------------------------------------------------------------------------------

S11_INVOICES = ("9870.50", "12400.00", "6000.00")
"""The case names the deposit alone; the invoices stand in the specification's sentence and in its expected rows."""


def s11_reference(inputs: Inputs) -> Any:
    owed = [(Decimal(amount), NOUGHT) for amount in S11_INVOICES]
    drawn = plain_prepayments.draw_down([(Decimal(inputs["deposit"]), NOUGHT)], owed, "EUR")
    return {
        "rows": [
            [gross, cents(applied), cents(due), cents(left)]
            for gross, (applied, _, due, _, left) in zip(S11_INVOICES, drawn, strict=True)
        ]
    }


def s11_vectorised(inputs: Inputs) -> Any:
    owed = [("C", f"I{n}", n, units(amount), 0) for n, amount in enumerate(S11_INVOICES)]
    advances = frame(prepayments.ADVANCES, ("C", "P", 1, units(inputs["deposit"]), 0))
    drawn = prepayments.draw_down(advances, frame(prepayments.DRAWING, *owed))
    columns = (S11_INVOICES, seen(drawn["applied"]), seen(drawn["due"]), seen(drawn["left"]))
    return {"rows": [list(row) for row in zip(*columns, strict=True)]}


# --- S13 --------------------------------------------------------------------------------------------------------------


def s13_reference(inputs: Inputs) -> Any:
    us, de = inputs["us"], inputs["de"]
    daily, breakfast = Decimal(us["daily"]), Decimal(us["breakfast"])
    rate = plain_per_diem.Rate(
        "US", None, date(2026, 1, 1), "USD", daily, Decimal(us["first_day_percent"]) / 100, breakfast, NOUGHT, NOUGHT, NOUGHT
    )  # fmt: skip
    cuts = plain_per_diem.percent_cuts(Decimal(de["full_day"]), [Decimal(p) for p in de["cuts_percent"]], "EUR")
    days = [plain_per_diem.paid(rate, True, (given, False, False)) for given in (False, True)]
    return {"us": [cents(a) for a in days], "de": [cents(a) for a in cuts]}


def s13_vectorised(inputs: Inputs) -> Any:
    us, de = inputs["us"], inputs["de"]
    rate = (
        "US",
        None,
        date(2026, 1, 1),
        "USD",
        units(us["daily"]),
        ppm(us["first_day_percent"]),
        units(us["breakfast"]),
    )
    days = [
        (f"d{n}", "US", None, date(2026, 5, 4), True, given, False, False, "as_paid", None)
        for n, given in enumerate((False, True))
    ]
    paid = per_diem.allowances(
        frame(per_diem.TRAVEL_DAYS, *days), frame(per_diem.PER_DIEM_RATES, (*rate, 0, 0, 0))
    )["paid"]  # fmt: skip
    table = per_diem.percent_cuts(pl.DataFrame({"full_day": [units(de["full_day"])]}), *map(ppm, de["cuts_percent"]))
    cuts = [table[meal].to_list()[0] for meal in ("breakfast", "lunch", "dinner")]
    return {"us": seen(paid), "de": [cents(from_units(cut, "EUR")) for cut in cuts]}


# --- S16 --------------------------------------------------------------------------------------------------------------


def s16_reference(inputs: Inputs) -> Any:
    standard = Decimal(inputs["hours"]) * Decimal(inputs["rate"])
    billed, _, realised, collected = plain_corrections.realisation(
        standard, Decimal(inputs["write_down_percent"]) / 100, Decimal(inputs["written_off_later"]), "EUR"
    )
    return {
        "standard": cents(standard), "billed": cents(billed), "realisation_percent": str(realised),
        "collection_percent": str(collected),
    }  # fmt: skip


def s16_vectorised(inputs: Inputs) -> Any:
    standard = units(Decimal(inputs["hours"]) * Decimal(inputs["rate"]))
    step = ("c", standard, ppm(inputs["write_down_percent"]), units(inputs["written_off_later"]))
    table = corrections.realisation(frame(corrections.VALUE_STEPS, step))
    [row] = table.to_dicts()
    return {
        "standard": seen(table["standard"])[0], "billed": seen(table["billed"])[0],
        "realisation_percent": f"{Decimal(row['realisation_permille']) / 10:.1f}",
        "collection_percent": f"{Decimal(row['collection_permille']) / 10:.1f}",
    }  # fmt: skip


# --- S20 --------------------------------------------------------------------------------------------------------------


def s20_shaped(rows: dict[str, list[tuple[str, Decimal, Decimal]]]) -> Any:
    full = {kind: (net, tax) for kind, net, tax in rows["credit_full_rebill"]}
    [(_, net, tax)] = rows["credit_partial"]
    written = {
        name: [short(sign * n), cents(sign * t), cents(sign * (n + t))]
        for name, kind, sign in (("orig", "credit", -1), ("rebill", "rebill", 1))
        for n, t in [full[kind]]
    }
    return {**written, "delta": cents(net + tax)}


def s20_amounts(inputs: Inputs) -> tuple[Decimal, Decimal, Decimal, Decimal]:
    rate, share = Decimal(inputs["rate"]), Decimal(inputs["vat_percent"]) / 100
    billed = Decimal(inputs["original_hours"]) * rate
    return billed, Decimal(inputs["true_hours"]) * rate, share, billed * share


def s20_reference(inputs: Inputs) -> Any:
    billed, true, share, tax = s20_amounts(inputs)
    lines = [plain_corrections.Line("1", "S", share, billed, true)]
    return s20_shaped(
        {
            policy: [
                (kind, net, of_it or NOUGHT)
                for kind, _, net, of_it in plain_corrections.tax_of(lines, policy, {"S": tax}, "EUR")
            ]
            for policy in ("credit_partial", "credit_full_rebill")
        }
    )


def s20_vectorised(inputs: Inputs) -> Any:
    billed, true, share, tax = s20_amounts(inputs)
    found = {}
    for policy in ("credit_partial", "credit_full_rebill"):
        line = ("I", "1", "S", int(share * 1_000_000), units(billed), units(true), policy)
        _, taxes = corrections.plan_corrections(
            frame(corrections.CORRECTED_LINES, line), frame(corrections.BILLED_TAX, ("I", "S", units(tax)))
        )
        rows = taxes.select("kind", "net", "tax").iter_rows()
        found[policy] = [(kind, from_units(net, "EUR"), from_units(of_it, "EUR")) for kind, net, of_it in rows]
    return s20_shaped(found)


# --- S22 --------------------------------------------------------------------------------------------------------------

S22_DAYS = {"invoice": date(2026, 3, 10), "month_end": date(2026, 3, 31), "payment": date(2026, 4, 20)}


def s22_reference(inputs: Inputs) -> Any:
    quotes = [
        plain_fx.Quote("ecb", "spot", "EUR", "USD", S22_DAYS[name], Decimal(rate))
        for name, rate in inputs["usd_per_eur"].items()
    ]
    amount = Decimal(inputs["invoice_usd"])
    value = {
        name: plain_fx.convert(amount, "USD", "EUR", on, quotes, "ecb", "spot") or NOUGHT
        for name, on in S22_DAYS.items()
    }
    unrealised, _ = plain_fx.revalue(value["month_end"], value["invoice"], True, NOUGHT)
    [(_, realised)] = plain_fx.realise(amount, value["invoice"], [(amount, value["payment"])], "EUR")
    figures = {
        "inv": value["invoice"], "reval": value["month_end"], "unreal": unrealised, "cash": value["payment"],
        "realised": realised,
    }  # fmt: skip
    return {name: cents(amount) for name, amount in figures.items()}


def s22_vectorised(inputs: Inputs) -> Any:
    rates = frame(
        fx.FX_RATES,
        *(
            ("ecb", "spot", "EUR", "USD", S22_DAYS[name], int(Decimal(rate) * fx.ONE))
            for name, rate in inputs["usd_per_eur"].items()
        ),
    )
    amount = units(inputs["invoice_usd"], "USD")
    asked = [(name, amount, "USD", "EUR", on, "ecb", "spot") for name, on in S22_DAYS.items()]
    values = fx.convert(frame(fx.CONVERSIONS, *asked), rates)
    by_name = dict(values.select("key", "converted").iter_rows())
    open_item = ("month_end", True, amount, "USD", "EUR", by_name["invoice"], 0)
    revalued = fx.revalue(frame(fx.RECEIVABLES_ABROAD, open_item), values.filter(pl.col("key") == "month_end"))
    payment = ("I", 1, amount, by_name["invoice"], amount, by_name["payment"])
    realised = fx.realise(frame(fx.PAYMENTS_ABROAD, payment))
    figures = {
        "inv": by_name["invoice"], "reval": revalued["value"][0], "unreal": revalued["unrealised"][0],
        "cash": by_name["payment"], "realised": realised["realised"][0],
    }  # fmt: skip
    return {name: cents(from_units(amount, "EUR")) for name, amount in figures.items()}


# --- S22b -------------------------------------------------------------------------------------------------------------


def s22b_quotes(inputs: Inputs) -> list[plain_fx.Quote]:
    """Return what is published: a rate for each service day, one for the invoice's, an average, one in the contract."""
    days = [(date.fromisoformat(on), rate) for on, _, rate in inputs["entries"]]
    spot = [*days, (LAST, inputs["invoice_rate"])]
    quotes = [plain_fx.Quote("ecb", "spot", "EUR", "USD", on, Decimal(rate)) for on, rate in spot]
    before = min(on for on, _ in days) - timedelta(days=1)
    return [
        *quotes,
        plain_fx.Quote("ecb", "period_average", "EUR", "USD", LAST, Decimal(inputs["period_avg"])),
        plain_fx.Quote("contract", "fixed", "EUR", "USD", before, Decimal(inputs["contract"])),
    ]


def s22b_asked(inputs: Inputs) -> list[tuple[str, Decimal, date, str, str]]:
    total = sum((Decimal(amount) for _, amount, _ in inputs["entries"]), NOUGHT)
    return [
        *(
            (f"work_date{n}", Decimal(amount), date.fromisoformat(on), "ecb", "spot")
            for n, (on, amount, _) in enumerate(inputs["entries"])
        ),
        ("invoice_date", total, LAST, "ecb", "spot"),
        ("average", total, LAST, "ecb", "period_average"),
        ("fixed", total, LAST, "contract", "fixed"),
    ]


def s22b_shaped(values: dict[str, Decimal]) -> Any:
    each = [value for name, value in values.items() if name.startswith("work_date")]
    rest = {name: cents(values[name]) for name in ("invoice_date", "average", "fixed")}
    return {"work_date": [*(cents(a) for a in each), cents(sum(each, NOUGHT))], **rest}


def s22b_reference(inputs: Inputs) -> Any:
    quotes = s22b_quotes(inputs)
    return s22b_shaped(
        {
            key: plain_fx.convert(amount, "EUR", "USD", on, quotes, source, purpose) or NOUGHT
            for key, amount, on, source, purpose in s22b_asked(inputs)
        }
    )


def s22b_vectorised(inputs: Inputs) -> Any:
    rates = frame(
        fx.FX_RATES,
        *((q.source, q.purpose, q.base, q.currency, q.published_on, int(q.rate * fx.ONE)) for q in s22b_quotes(inputs)),
    )
    asked = [
        (key, units(amount), "EUR", "USD", on, source, purpose)
        for key, amount, on, source, purpose in s22b_asked(inputs)
    ]
    found = fx.convert(frame(fx.CONVERSIONS, *asked), rates).select("key", "converted").iter_rows()
    return s22b_shaped({key: from_units(value, "USD") for key, value in found})


ENGINES: dict[str, tuple[Engine, Engine]] = {
    "S06": (s06_reference, s06_vectorised),
    "S07": (s07_reference, s07_vectorised),
    "S08": (s08_reference, s08_vectorised),
    "S09": (s09_reference, s09_vectorised),
    "S10": (s10_reference, s10_vectorised),
    "S11": (s11_reference, s11_vectorised),
    "S13": (s13_reference, s13_vectorised),
    "S16": (s16_reference, s16_vectorised),
    "S20": (s20_reference, s20_vectorised),
    "S22": (s22_reference, s22_vectorised),
    "S22b": (s22b_reference, s22b_vectorised),
}
