"""The client's purchase orders: each charge draws on the first that pays for its day and has something left."""

from collections.abc import Mapping

import polars as pl

from trueup.billing.caps import split_at_cap
from trueup.billing.holds import with_more
from trueup.billing.measuring import charged_minutes
from trueup.billing.rounding import MINOR
from trueup.billing.terms import Terms
from trueup.kernel.money import to_units

IN_ORDER = ("service_on", "source_order", "fact", "facet")


def draw_on_orders(parts: pl.DataFrame, terms: Mapping[str, Terms]) -> pl.DataFrame:
    """Let free parts draw on purchase orders, split where one ends; hold what none is left for, where one is needed.

    Parts draw in the order of service date, source order, fact. Time and expenses are split; a fee or a top-up is not:
    the first that does not fit closes the order. What is not above zero takes the first order of its day and uses none.

    parts    see `charges`
    terms    project → terms
    Returns  parts + purchase_order str|null; the rest with PO_MISSING, PO_EXPIRED or PO_EXHAUSTED
    """
    drawing = {project: of for project, of in terms.items() if of.purchase_orders or of.po_required}
    if not drawing:
        return parts
    free = (pl.col("hold_codes").list.len() == 0) & (pl.col("bucket") == "on_draft")
    asks = free & pl.col("project").is_in(list(drawing))
    rest = parts.filter(~asks)
    size = (
        pl.when(pl.col("kind").is_in(["time", "overage"]))
        .then("minutes")
        .when(pl.col("kind") == "expense")
        .then((pl.col("spent") // MINOR).clip(lower_bound=1))
        .otherwise(1)
    )
    flow = parts.filter(asks).sort(IN_ORDER).with_columns(size=size, met=pl.lit(value=False))
    drawn = []
    currencies = dict(flow.select("project", "currency").unique().iter_rows())
    for number in range(max((len(of.purchase_orders) for of in drawing.values()), default=0)):
        ranked = {
            project: of.orders_by_priority()[number]
            for project, of in drawing.items()
            if number < len(of.purchase_orders) and project in currencies
        }
        orders = pl.DataFrame(
            [
                (project, order.number, to_units(order.amount, currencies[project]), 0, order.valid_from, order.valid_to)
                for project, order in ranked.items()
            ],
            schema={
                "project": pl.String, "purchase_order": pl.String, "cap": pl.Int64, "cap_used": pl.Int64,
                "from_on": pl.Date, "to_on": pl.Date,
            },
            orient="row",
        )  # fmt: skip
        known = flow.drop("cap", "cap_used", strict=False).join(orders, on="project", how="left", maintain_order="left")
        day = pl.col("service_on")
        pays = (
            pl.col("purchase_order").is_not_null()
            & (pl.col("from_on").is_null() | (pl.col("from_on") <= day))
            & (pl.col("to_on").is_null() | (day <= pl.col("to_on")))
        )
        asked = known.with_columns(pays=pays).with_columns(counts=pl.col("pays") & (pl.col("amount") > 0))
        split = split_at_cap(asked, minutes="size")
        takes = pl.col("pays") & ((pl.col("within_minutes") != 0) | (pl.col("within_amount") == pl.col("amount")))
        drawn.append(_cut(split.filter(takes), rest=False))
        left = _cut(split.filter(takes & (pl.col("over_amount") != 0)), rest=True)
        flow = (
            pl.concat([left, split.filter(~takes)], how="diagonal")
            .with_columns(met=pl.col("met") | pl.col("pays"))
            .select(flow.columns)
            .sort(IN_ORDER)
        )
    none_entered = [project for project, of in drawing.items() if not of.purchase_orders]
    needed = pl.col("project").is_in([project for project, of in drawing.items() if of.po_required])
    code = (
        pl.when(pl.col("project").is_in(none_entered))
        .then(pl.lit("PO_MISSING"))
        .when(pl.col("met"))
        .then(pl.lit("PO_EXHAUSTED"))
        .otherwise(pl.lit("PO_EXPIRED"))
    )
    waiting = with_more(flow, pl.when(needed).then(pl.concat_list(code)))
    return pl.concat([rest, *drawn, waiting], how="diagonal").drop(
        "size", "met", "from_on", "to_on", "pays", "counts", "within_minutes", "within_amount", "over_minutes",
        "over_amount", "cap_left", strict=False,
    )  # fmt: skip


def _cut(parts: pl.DataFrame, *, rest: bool) -> pl.DataFrame:
    # Take the front of a part, or what is behind it: minutes of time, minor units of an expense. A part taken whole
    # keeps its facet.
    size = pl.col("over_minutes" if rest else "within_minutes")
    whole = size == pl.col("size")
    timed = pl.col("kind").is_in(["time", "overage"])
    spends = pl.col("kind") == "expense"
    first = pl.coalesce(
        pl.col("facet").str.extract(r"^(?:expense-)?(\d+)-\d+$", 1).cast(pl.Int64), pl.col("spent_from") // MINOR
    )
    start = first + pl.col("within_minutes") if rest else first
    spent = pl.col("spent") - pl.col("within_minutes") * MINOR if rest else size * MINOR
    recharged = pl.when(~whole & pl.col("weight").is_not_null()).then(charged_minutes(start, start + size))
    return parts.with_columns(
        *([recharged.otherwise("charged").alias("charged")] if "weight" in parts.columns else []),
        facet=pl.when(whole).then("facet")
        .when(timed).then(pl.format("{}-{}", start, start + size))
        .when(spends).then(pl.format("expense-{}-{}", start, start + size))
        .otherwise("facet"),
        minutes=pl.when(timed).then(size).otherwise("minutes"),
        spent=pl.when(spends & ~whole).then(spent).otherwise("spent"),
        amount=pl.col("over_amount" if rest else "within_amount"),
        size=size,
    )  # fmt: skip
