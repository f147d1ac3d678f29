"""Withholding, lent people and labour checks of the worked examples, as the engines answer them."""

from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from typing import Any

import polars as pl

from trueup.billing.intercompany import STAFFED, TRANSFER_PRICES, price_transfers
from trueup.billing.intercompany import postings as fast_postings
from trueup.billing.labour import PEOPLE, TIMES, labour_findings, paid_minutes_california
from trueup.billing.labour_packs import FLOOR, Pack
from trueup.billing.reference import intercompany as plain
from trueup.billing.reference import labour as plain_labour
from trueup.billing.reference.withholding import Term, withheld
from trueup.billing.withholding import with_withholding
from trueup.kernel.money import from_units, round_money, to_units

Case = Mapping[str, Any]
FIRST, DAY, NEXT = date(2026, 1, 1), date(2026, 8, 3), date(2026, 8, 4)
S21 = {"client_rate_eur": "200.00", "hours": "10", "cost_gbp": "80.00", "transfer": "cost plus 10%",
       "eur_per_gbp": "1.17"}  # fmt: skip


def amount(value: Decimal) -> str:
    return f"{value:.2f}"


def shape(frame: Any, *rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema={name: column.dtype for name, column in frame.columns.items()})


# --- S23 --------------------------------------------------------------------------------------------------------------


def s23_plain(case: Case) -> dict[str, str]:
    net = Decimal(case["net"])
    tax = round_money(net * Decimal(case["tax_percent"]) / 100, "INR")
    kept, received = withheld(net, tax, Term(None, Decimal(case["withheld_percent_of_net"]) / 100, "net", FIRST), "INR")
    return {"invoice": amount(net + tax), "withheld": amount(kept), "received": amount(received)}


def s23_fast(case: Case) -> dict[str, str]:
    net = to_units(Decimal(case["net"]), "INR")
    tax = net * int(case["tax_percent"]) // 100
    invoice = {"legal_entity": "IN01", "bill_to": "c", "invoice_date": DAY, "net": net, "tax": tax, "gross": net + tax}
    term = {"legal_entity": "IN01", "bill_to": "c", "rate_ppm": int(case["withheld_percent_of_net"]) * 10_000,
            "base": "net", "valid_from": FIRST}  # fmt: skip
    row = with_withholding(pl.DataFrame([invoice]), pl.DataFrame([term])).row(0, named=True)
    shown = {"invoice": "gross", "withheld": "withheld", "received": "expected"}
    return {name: amount(from_units(row[column], "INR")) for name, column in shown.items()}


# --- S21, R12 ---------------------------------------------------------------------------------------------------------


def percent(case: Case) -> Decimal:
    return Decimal(case["transfer"].removeprefix("cost plus ").removesuffix("%"))


def lent_plain(case: Case) -> tuple[plain.Transfer, Decimal]:
    minutes, client = int(Decimal(case["hours"]) * 60), Decimal(case["client_rate_eur"]) * Decimal(case["hours"])
    rule = plain.Rule("cost_plus", percent(case) / 100, FIRST)
    fx = Decimal(case["eur_per_gbp"])
    return plain.transfer(minutes, Decimal(case["cost_gbp"]), client, rule, fx, "GBP", "EUR"), client


def lent_fast(case: Case) -> pl.DataFrame:
    client = Decimal(case["client_rate_eur"]) * Decimal(case["hours"])
    row = {
        "fact": "tim_1", "fact_version": 1, "lender": "UK01", "borrower": "DE01", "lender_currency": "GBP",
        "borrower_currency": "EUR", "worked_on": DAY, "minutes": int(Decimal(case["hours"]) * 60),
        "cost_rate": to_units(Decimal(case["cost_gbp"]), "GBP"), "client_amount": to_units(client, "EUR"),
        "fx_e9": int(Decimal(case["eur_per_gbp"]) * 10**9),
    }  # fmt: skip
    price = {"lender": "UK01", "borrower": "DE01", "rule": "cost_plus", "value": int(percent(case) * 10_000),
             "valid_from": FIRST}  # fmt: skip
    return price_transfers(shape(STAFFED, row), shape(TRANSFER_PRICES, price))


def s21(ic: Decimal, ic_eur: Decimal, de: Decimal, uk: Decimal) -> dict[str, str]:
    return {"ic_gbp": amount(ic), "ic_eur": amount(ic_eur), "de_margin": amount(de), "uk_margin_gbp": f"{uk:.0f}"}


def s21_plain(case: Case) -> dict[str, str]:
    found, _ = lent_plain(case)
    return s21(found.amount, found.amount_borrower, found.borrower_margin, found.lender_margin)


def s21_fast(case: Case) -> dict[str, str]:
    row = lent_fast(case).row(0, named=True)
    return s21(
        from_units(row["transfer"], "GBP"), from_units(row["transfer_borrower"], "EUR"),
        from_units(row["borrower_margin"], "EUR"), from_units(row["lender_margin"], "GBP"),
    )  # fmt: skip


def r12_plain(case: Case) -> dict[str, list[list[str]]]:
    assert case["as_in"] == "S21"
    lender, borrower = plain.postings(*lent_plain(S21))
    shown = {"uk_gbp": lender, "de_eur": borrower}
    return {name: [[account, amount(dr), amount(cr)] for account, dr, cr in lines] for name, lines in shown.items()}


def r12_fast(case: Case) -> dict[str, list[list[str]]]:
    assert case["as_in"] == "S21"
    found: dict[str, list[list[str]]] = {"uk_gbp": [], "de_eur": []}
    for row in fast_postings(lent_fast(S21)).to_dicts():
        place = "uk_gbp" if row["legal_entity"] == "UK01" else "de_eur"
        sides = [amount(from_units(row[side], row["currency"])) for side in ("debit", "credit")]
        found[place].append([row["account"], *sides])
    return found


# --- S29 --------------------------------------------------------------------------------------------------------------


def clock(written: str) -> int:
    hours, minutes = written.split(":")
    return int(hours) * 60 + int(minutes)


def pack(case: Case) -> Pack:
    return Pack("as in the case", daily_max=int(case["daily_max_hours"]) * 60, rest=660, break_after=360)


def days(case: Case) -> list[dict[str, Any]]:
    starts, ends, pause = case["day_1"]
    assert pause == "no break"
    early = clock(case["day_2_start"])
    one = {"resource": "res_1", "break_minutes": None}
    return [
        {**one, "fact": "tim_1", "worked_on": DAY, "minutes": clock(ends) - clock(starts), "starts": clock(starts),
         "ends": clock(ends)},
        {**one, "fact": "tim_2", "worked_on": NEXT, "minutes": 240, "starts": early, "ends": early + 240},
    ]  # fmt: skip


def s29_plain(case: Case) -> dict[str, Any]:
    entries = [plain_labour.Time(**row) for row in days(case)]
    found = plain_labour.labour_findings(entries, [plain_labour.Person("res_1", "DE")], [FLOOR, pack(case)], NEXT)
    paid = plain_labour.paid_hours_california(Decimal(case["ca_day_hours"]))
    return {"violations": sorted(one[3] for one in found), "ca_paid_hours": f"{paid:.1f}"}


def s29_fast(case: Case) -> dict[str, Any]:
    person = {"resource": "res_1", "country": "DE"}
    found = labour_findings(shape(TIMES, *days(case)), shape(PEOPLE, person), [FLOOR, pack(case)], NEXT)
    paid = pl.select(paid_minutes_california(pl.lit(int(case["ca_day_hours"]) * 60))).item()
    return {"violations": sorted(found["check"]), "ca_paid_hours": f"{Decimal(paid) / 120:.1f}"}


ENGINES: dict[str, tuple[Callable[[Case], Any], Callable[[Case], Any]]] = {
    "S21": (s21_plain, s21_fast),
    "S23": (s23_plain, s23_fast),
    "S29": (s29_plain, s29_fast),
    "R12": (r12_plain, r12_fast),
}
