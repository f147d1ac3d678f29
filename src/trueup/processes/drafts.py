"""Carries out a billing plan: moves, charges, draft invoices and holds, in one transaction, and asks the ERP."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import polars as pl

from trueup.billing.frames import RunPlan
from trueup.billing.holds import REASONS
from trueup.kernel.errors import Busy
from trueup.kernel.ids import derive, kind_of
from trueup.kernel.money import from_units
from trueup.pipeline.house import House
from trueup.pipeline.ingest import author
from trueup.processes import corrections, decided, prepaid, tax_facts
from trueup.processes.commands import commands, keys
from trueup.store import changes, deliveries, holds, ledger, objects
from trueup.store.changes import Event
from trueup.store.database import Tx, array
from trueup.store.holds import Hold
from trueup.store.ledger import Move

FINAL = frozenset({"on_draft", "covered_by_fixed_fee", "non_billable"})
UNMOVED = ("fee", "minimum", "discount", "adjustment", "delta")
"""Kinds of charges that are no quantity of a fact: nothing moves in the bucket ledger for them."""
OPEN = ("unbilled", "held", "over_cap", "postponed")


def carry_out(
    tx: Tx, house: House, plan: RunPlan, run: str, process: str, entity: str, considered: Sequence[str]
) -> dict[str, Any]:
    """Write what a plan decided and return its figures.

    run         what the run is called; begins with its period
    entity      the legal entity it is for
    considered  projects the plan looked at: open holds on their facts that the plan does not repeat end here
    """
    plan = decided.adjusted(tx, house.firm, _named_anew(tx, plan), entity)
    documents = {row["code"]: derive("invoice", row["code"]) for row in plan.invoices.iter_rows(named=True)}
    addressed = _addressed(plan, documents)
    _move(tx, addressed, run)
    _charge(tx, addressed, entity, run)
    _draft(tx, house, plan, documents, process)
    figures = _hold(tx, house, plan, considered, run, entity)
    return {
        "invoices": plan.invoices.height,
        "net": _sums(plan.invoices, "net"),
        "holds": figures,
        "charges": plan.charges.height,
    }


def added(figures: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the figures of several runs as those of one."""
    net: dict[str, Decimal] = {}
    held: dict[str, int] = {}
    for one in figures:
        for currency, amount in one["net"].items():
            net[currency] = net.get(currency, Decimal(0)) + Decimal(amount)
        for code, count in one["holds"].items():
            held[code] = held.get(code, 0) + count
    return {
        "invoices": sum(one["invoices"] for one in figures),
        "net": {currency: format(amount, "f") for currency, amount in sorted(net.items())},
        "holds": dict(sorted(held.items())),
        "charges": sum(one["charges"] for one in figures),
    }


def _named_anew(tx: Tx, plan: RunPlan) -> RunPlan:
    """Give names of their own to what is billed again: a voided or credited charge and its document keep theirs.

    Without it the new charge would be taken for the old one, and its hours would stand on a document and in no ledger.
    """
    final = plan.charges.filter(pl.col("bucket").is_in(list(FINAL)))
    again = ledger.taken_back(tx) & set(final["fact"].to_list())
    used = ledger.keys_like(tx, sorted(again)) if again else set[str]()
    keys = {key: _free(key, "#", used) for key in final.filter(pl.col("fact").is_in(list(again)))["key"].to_list()}
    codes = plan.invoices["code"].to_list()
    known = objects.load(tx, [derive("invoice", code) for code in codes])
    names = {code: _free_code(tx, code) for code in codes if derive("invoice", code) in known}
    if not keys and not names:
        return plan
    renamed = pl.col("invoice_code").replace(names) if names else pl.col("invoice_code")
    return replace(
        plan,
        charges=plan.charges.with_columns(
            renamed, pl.when(pl.col("bucket").is_in(list(FINAL))).then(pl.col("key").replace(keys)).otherwise("key").alias("key")
        ),
        invoices=plan.invoices.with_columns(pl.col("code").replace(names)) if names else plan.invoices,
        invoice_lines=plan.invoice_lines.with_columns(renamed),
    )  # fmt: skip


def _free(key: str, mark: str, used: set[str]) -> str:
    number, name = 1, key
    while name in used:
        number += 1
        name = f"{key}{mark}{number}"
    return name


def _free_code(tx: Tx, code: str) -> str:
    number = 1
    while objects.load(tx, [derive("invoice", f"{code}-R{number}")]):
        number += 1
    return f"{code}-R{number}"


def _sums(frame: pl.DataFrame, amount: str) -> dict[str, str]:
    grouped = frame.group_by("currency").agg(pl.col(amount).sum()).sort("currency")
    return {
        row["currency"]: format(from_units(row[amount], row["currency"]), "f") for row in grouped.iter_rows(named=True)
    }


def _addressed(plan: RunPlan, documents: Mapping[str, str]) -> pl.DataFrame:
    """Return the charges with what they move, and the document they go to.

    Returns  `CHARGES` plus unit str, moved i64, document str|null, period str|null
    """
    places = plan.invoices.select(
        pl.col("code").alias("invoice_code"),
        pl.col("code").replace_strict(documents, return_dtype=pl.String).alias("document")
        if documents
        else pl.lit(None, pl.String).alias("document"),
        "period",
    )
    of_time = pl.col("kind").is_in(["time", "overage"])
    of_spending = pl.col("kind") == "expense"
    return plan.charges.join(places, on="invoice_code", how="left", maintain_order="left").with_columns(
        unit=pl.when(of_time).then(pl.lit("minute")).otherwise(pl.lit("amount")),
        moved=pl.when(of_time).then("minutes").when(of_spending).then("spent").otherwise("amount"),
    )


def _move(tx: Tx, charges: pl.DataFrame, run: str) -> None:
    """Move every fact's open quantity to where the plan puts it."""
    # What is below zero waits for a credit (CREDIT_DUE): nothing of it is open, and nothing of it moves.
    wanted = charges.filter(~pl.col("kind").is_in(UNMOVED) & (pl.col("moved") > 0)).with_columns(
        actor=pl.lit("billing"), reason=pl.coalesce("hold_code", pl.lit(f"billing run {run}"))
    )
    lying = ledger.frame(
        tx,
        """
        select fact, bucket, quantity from buckets
        where fact = any(%(facts)s::text[]) and bucket = any(%(open)s) and quantity > 0 for update
        """,
        {"facts": array(wanted["fact"].unique().sort()), "open": list(OPEN)},
        {"fact": pl.String, "from_bucket": pl.String, "lies": pl.Int64},
    )
    _still_open(wanted, lying)
    # Nearly every fact is one charge and lies in one bucket: no choice is to be made for it.
    plain = (
        wanted.filter((pl.len().over("fact") == 1) & (pl.col("kind") != "milestone"))
        .join(lying.filter(pl.len().over("fact") == 1), on="fact", how="inner", maintain_order="left")
        .filter(pl.col("from_bucket") != pl.col("bucket"))
        .rename({"bucket": "to_bucket", "key": "charge"})
        .with_columns(
            key=pl.concat_str(pl.lit(f"{run}/"), "charge", pl.lit("/"), "from_bucket"),
            quantity=pl.min_horizontal("moved", "lies"),
        )
    )
    ledger.move(tx, plain)
    parts: dict[str, list[Mapping[str, Any]]] = {}
    for part in wanted.join(plain, on="fact", how="anti", maintain_order="left").iter_rows(named=True):
        parts.setdefault(part["fact"], []).append(part)
    left: dict[str, dict[str, int]] = {fact: {} for fact in parts}
    for fact, bucket, quantity in lying.filter(pl.col("fact").is_in(list(parts))).iter_rows():
        left[fact][bucket] = quantity
    ledger.move(tx, (move for fact, charges_of in parts.items() for move in _transport(charges_of, left[fact], run)))


def _still_open(wanted: pl.DataFrame, lying: pl.DataFrame) -> None:
    """Refuse to bill what is open no longer: somebody took an approval back between our look and our lock.

    Raises    Busy: nothing was written, and the next attempt looks again.
    """
    needed = wanted.filter(pl.col("kind") != "milestone").group_by("fact").agg(needed=pl.col("moved").sum())
    short = (
        needed.join(lying.group_by("fact").agg(lies=pl.col("lies").sum()), on="fact", how="left")
        .filter(pl.col("needed") > pl.col("lies").fill_null(0))
        .sort("fact")
    )
    if short.height:
        raise Busy(f"{short['fact'][0]} and {short.height - 1} more changed while they were billed; plan again", 1)


def _transport(parts: Sequence[Mapping[str, Any]], open_now: dict[str, int], run: str) -> Iterable[Move]:
    """Yield the moves that take what is open to the wanted buckets; what already lies right stays."""
    left = dict(open_now)
    rest: list[tuple[Mapping[str, Any], int]] = []
    for part in parts:
        quantity = int(part["moved"])
        stays = min(left.get(part["bucket"], 0), quantity) if part["bucket"] not in FINAL else 0
        if stays:
            left[part["bucket"]] -= stays
        if quantity > stays:
            rest.append((part, quantity - stays))
    for part, quantity in rest:
        for bucket in (*OPEN, "source"):
            from_here = min(left.get(bucket, 0), quantity) if bucket != "source" else quantity
            if from_here <= 0 or (bucket == "source" and part["kind"] not in ("milestone",)):
                continue
            if bucket != "source":
                left[bucket] -= from_here
            quantity -= from_here
            yield Move(
                f"{run}/{part['key']}/{bucket}", part["fact"], part["fact_version"], part["unit"], bucket,
                part["bucket"], from_here, part["reason"], part["actor"], part["key"], part["document"],
                part["line_key"],
            )  # fmt: skip


def _charge(tx: Tx, charges: pl.DataFrame, entity: str, run: str) -> None:
    """Write the charges that are final; what is held is priced anew next time."""
    ledger.charge(
        tx,
        charges.filter(pl.col("bucket").is_in(list(FINAL))).with_columns(
            pl.col("period").fill_null(run.split("/")[0]), legal_entity=pl.lit(entity), run=pl.lit(run)
        ),
    )


def _draft(tx: Tx, house: House, plan: RunPlan, documents: Mapping[str, str], process: str) -> None:
    """Make the draft invoices and ask the ERP for them."""
    lines: dict[str, list[dict[str, Any]]] = {}
    project_of = {row["code"]: row["project"] for row in plan.invoices.iter_rows(named=True)}
    currency_of = {row["code"]: row["currency"] for row in plan.invoices.iter_rows(named=True)}
    for row in plan.invoice_lines.iter_rows(named=True):
        currency = currency_of[row["invoice_code"]]
        hours = row["unit"] == "minute"
        spent = row["charge_kind"] == "expense"  # several receipts are one line at their sum
        lines.setdefault(row["invoice_code"], []).append(
            {
                "key": row["line_key"],
                "description": row["description"],
                "quantity": _hours(row["quantity"]) if hours else "1" if spent else str(row["quantity"]),
                "unit": "hour" if hours else "each",
                "rate": _text(row["net"] if spent or row["rate"] is None else row["rate"], currency),
                "net": _text(row["net"], currency),
                "project": project_of[row["invoice_code"]],
                "charge_kind": row["charge_kind"],
            }
        )
    withheld = tax_facts.withheld(tx, house.firm, plan.invoices)
    advances = prepaid.set_off(tx, house.firm, plan)
    items = []
    for row in plan.invoices.iter_rows(named=True):
        currency = row["currency"]
        values = {
            "code": row["code"],
            "invoice_type": "invoice",
            "customer": row["bill_to"],
            "contract": row["contract"],
            "project": row["project"],
            "legal_entity": row["legal_entity"],
            "currency": currency,
            "invoice_date": row["invoice_date"],
            "due_on": row["due_on"],
            "period": row["period"],
            "tax_treatment": row["tax_treatment"],
            "tax_rate": format(Decimal(row["tax_rate_ppm"]) / 1_000_000, "f"),
            "tax_reason": row["tax_reason"],
            "withheld": _text(withheld[row["code"]], currency) if row["code"] in withheld else None,
            "prepaid": _text(advances[row["code"]].gross, currency) if row["code"] in advances else None,
            "prepaid_tax": _text(advances[row["code"]].tax, currency) if row["code"] in advances else None,
            "net": _text(row["net"], currency),
            "tax": _text(row["tax"], currency),
            "gross": _text(row["gross"], currency),
            "balance": _text(row["gross"], currency),
            "lines": lines[row["code"]],
            "status": "draft",
        }
        items.append(("invoice", documents[row["code"]], values))
    if not items:
        return
    author(tx, house, items, actor=process)
    asked = []
    for row in plan.invoices.iter_rows(named=True):
        first = keys(commands(house, "erp", "project", row["project"], "create"))
        asked += commands(
            house, "erp", "invoice", documents[row["code"]], "draft", depends_on=first, process=process, priority=10,
            amount=row["gross"], currency=row["currency"],
        )  # fmt: skip
    deliveries.ask(tx, asked)


def _text(units: int, currency: str) -> str:
    return format(from_units(units, currency), "f")


def _hours(minutes: int) -> str:
    """Write minutes as hours, to four places: what prints on the invoice."""
    return format((Decimal(minutes) / 60).quantize(Decimal("0.0001")), "f")


def _hold(tx: Tx, house: House, plan: RunPlan, considered: Sequence[str], run: str, entity: str) -> dict[str, int]:
    """Open the plan's holds, and end those on the same projects that the plan no longer finds."""
    found = [
        Hold(
            row["code"],
            row["scope"],
            kind_of(row["scope"]) or row["kind"],
            house.firm.owners.get(row["code"], REASONS[row["code"]].owner),
            row["sentence"],
            REASONS[row["code"]].released_by,
            row["amount"],
            row["currency"],
            row["minutes"] or None,
            row["project"],
            row["contract"],
            entity,
            run.split("/")[0],
        )
        for row in plan.holds.iter_rows(named=True)
    ]
    placed = holds.place(tx, found)
    still = {(hold.code, hold.scope) for hold in found}
    over = [
        hold
        for hold in holds.open_of(tx, projects=considered)
        if (hold["code"], hold["scope"]) not in still
        and hold["scope_kind"] in ("time_entry", "expense_line", "project")  # a milestone's hold ends with its sign-off
    ]
    due = corrections.still_due(tx, [hold["scope"] for hold in over if hold["code"] == "CREDIT_DUE"])
    over = [hold for hold in over if hold["code"] != "CREDIT_DUE" or hold["scope"] not in due]
    ended = holds.release(tx, [hold["number"] for hold in over], "billing", f"the reason is gone (run {run})")
    counts: dict[str, int] = {}
    for hold in placed:
        counts[hold["code"]] = counts.get(hold["code"], 0) + 1
    told = [
        Event(
            f"hold.placed/{code}/{run}", "hold.placed", run, "run", {"code": code, "count": count},
        )
        for code, count in sorted(counts.items())
    ]  # fmt: skip
    told += [
        Event(
            f"hold.released/{hold['number']}",
            "hold.released",
            hold["scope"],
            hold["scope_kind"],
            {"code": hold["code"]},
        )
        for hold in ended
    ]
    changes.tell(tx, told)
    return counts
