"""Credit and rebill: three ways to put a posted document right, and what became of the value on the way to cash.

A document's tax is rounded once per category (EN 16931). A credit note computes its own tax the same way, so several of
them may come to a cent more than was billed: each is limited to what is left, and the one that takes back the last net
takes all the tax that is left.
"""

import polars as pl

from trueup.billing.frames import Shape, flag, maybe, text, units, whole
from trueup.billing.rounding import MILLION, product, rounded

POLICIES = ("delta_next", "credit_partial", "credit_full_rebill")
"""How a late correction is billed: a line on the next invoice, a credit note for the difference, or a credit note for
all and a new invoice (needed where entity, VAT id or purchase order was wrong)."""

CORRECTED_LINES = Shape(
    "corrected_lines",
    "one line of a posted document, as it was billed and as it should be",
    {
        "document": text("the posted invoice"),
        "line_key": text("its line"),
        "category": text("tax category"),
        "rate_ppm": whole("rate of the category, parts per million"),
        "billed": units("net still billed: earlier credits taken off, zero or above"),
        "true": units("net it should be, zero or above"),
        "policy": text("delta_next, credit_partial or credit_full_rebill; the same for all lines of a document"),
    },
)

BILLED_TAX = Shape(
    "billed_tax",
    "tax still billed in one category of a posted document",
    {
        "document": text("the posted invoice"),
        "category": text("tax category"),
        "tax": units("as posted, earlier credits taken off"),
    },
)

CORRECTION_LINES = Shape(
    "correction_lines",
    "one line of a planned correction",
    {
        "document": text("the invoice it corrects"),
        "kind": text("next_line (on the next invoice), credit (a credit note) or rebill (an invoice)"),
        "line_key": text("line it corrects"),
        "category": text("tax category"),
        "net": units("below zero takes back"),
    },
)

CORRECTION_TAX = Shape(
    "correction_tax",
    "net and tax of one category of a planned correction",
    {
        "document": text("the invoice it corrects"),
        "kind": text("next_line, credit or rebill"),
        "category": text("tax category"),
        "net": units("sum of its lines"),
        "tax": maybe(units("rounded once, with the residual rule; null for next_line: the next invoice taxes it")),
    },
)

CREDIT_REQUESTS = Shape(
    "credit_requests",
    "one credit note on one category of a posted document, in the order they were issued",
    {
        "document": text("the posted invoice"),
        "category": text("tax category"),
        "sequence": whole("order of the credits"),
        "rate_ppm": whole("rate of the category, parts per million"),
        "billed": units("net of the category as posted, above zero; the same in every row"),
        "billed_tax": units("tax of the category as posted; the same in every row"),
        "net": units("asked to be credited, zero or above"),
    },
)

CREDITS_GRANTED = Shape(
    "credits_granted",
    "one credit note as it may be issued",
    {
        "document": text("the posted invoice"),
        "category": text("tax category"),
        "sequence": whole("order of the credits"),
        "net": units("credited: what was asked, at most what is left"),
        "tax": units("credited; the credit that takes the last net takes all tax that is left"),
        "excess": units("asked beyond what was billed: a finding, never credited"),
        "last": flag("whether nothing is left after it"),
    },
)

VALUE_STEPS = Shape(
    "value_steps",
    "what became of the value of one thing",
    {
        "key": text("the caller's own name: a charge, a project, a person"),
        "standard": units("at standard rates"),
        "write_down_ppm": whole("taken off before billing, parts per million; below zero is a write-up"),
        "written_off": units("of the receivable, net of tax, later"),
    },
)

REALISATION = Shape(
    "realisation",
    "realisation and collection of one thing",
    {
        "key": text("as given"),
        "standard": units("at standard rates"),
        "billed": units("after the write-down, rounded once"),
        "collected": units("billed - written off"),
        "realisation_permille": maybe(whole("billed / standard, tenths of a percent; null without standard value")),
        "collection_permille": maybe(whole("collected / billed, tenths of a percent; null where nothing was billed")),
    },
)


def plan_corrections(lines: pl.DataFrame, billed_tax: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Plan how documents are put right, each by its policy.

    delta_next          the difference of every line goes on the next invoice, below zero or above
    credit_partial      a credit note for the lines that are too high, an invoice for those that are too low
    credit_full_rebill  a credit note for everything, and an invoice for what is true
    With the last, credit and rebill are the truth in net and in tax; with the first two in net, and the tax of a credit
    note follows its own base.

    lines       `CORRECTED_LINES`
    billed_tax  `BILLED_TAX`
    Returns     `CORRECTION_LINES` and `CORRECTION_TAX`, both sorted; nought left out
    Raises      ValueError for an unknown policy.
    """
    rows = CORRECTED_LINES.read(lines)
    unknown = sorted(set(rows["policy"]) - set(POLICIES))
    if unknown:
        raise ValueError(f"unknown policy {', '.join(unknown)}; choose one of {', '.join(POLICIES)}")
    policy, delta = pl.col("policy"), pl.col("true") - pl.col("billed")
    full = policy == "credit_full_rebill"
    kinds = (
        ("next_line", pl.when(policy == "delta_next").then(delta).otherwise(0)),
        (
            "credit",
            pl.when(full).then(-pl.col("billed"))
            .when(policy == "credit_partial").then(delta.clip(upper_bound=0)).otherwise(0),
        ),
        (
            "rebill",
            pl.when(full).then("true").when(policy == "credit_partial").then(delta.clip(lower_bound=0)).otherwise(0),
        ),
    )  # fmt: skip
    planned = pl.concat(rows.with_columns(kind=pl.lit(kind), net=net) for kind, net in kinds).filter(pl.col("net") != 0)
    return (
        CORRECTION_LINES.write(planned.sort("document", "kind", "line_key")),
        CORRECTION_TAX.write(_taxed(planned, rows, BILLED_TAX.read(billed_tax))),
    )


def _taxed(planned: pl.DataFrame, rows: pl.DataFrame, billed_tax: pl.DataFrame) -> pl.DataFrame:
    group = ["document", "category"]
    held = rows.group_by(group).agg(pl.col("billed").sum()).join(billed_tax, on=group, how="left")
    sums = planned.group_by("document", "kind", "category", "rate_ppm").agg(pl.col("net").sum())
    own = rounded(product(pl.col("net"), pl.col("rate_ppm")), MILLION)
    all_of_it = pl.col("net") == -pl.col("billed")
    left = pl.col("tax").fill_null(0)
    credited = pl.when(all_of_it).then(-left).otherwise(pl.max_horizontal(own, -left))
    kind = pl.col("kind")
    return (
        sums.join(held, on=group, how="left")
        .with_columns(tax=pl.when(kind == "credit").then(credited).when(kind == "rebill").then(own))
        .sort("document", "kind", "category")
    )


def grant_credits(requests: pl.DataFrame) -> pl.DataFrame:
    """Limit credits to what was billed, in net and in tax; the last one takes the residual.

    requests  `CREDIT_REQUESTS`
    Returns   `CREDITS_GRANTED`, sorted by document, category and sequence; nets and taxes never add up to more than was
              billed, and to exactly that once all net is credited
    """
    over = ["document", "category"]
    rows = CREDIT_REQUESTS.read(requests).sort(*over, "sequence")
    reach = pl.min_horizontal(pl.col("net").cum_sum().over(over), pl.col("billed"))
    granted = rows.rename({"net": "asked"}).with_columns(
        reach=rows.select(reach.alias("reach"))["reach"],
    )  # fmt: skip
    before = pl.col("reach").shift(1, fill_value=0).over(over)
    granted = granted.with_columns(net=pl.col("reach") - before).with_columns(
        own=rounded(product(pl.col("net"), pl.col("rate_ppm")), MILLION)
    )
    spent = pl.min_horizontal(pl.col("own").cum_sum().over(over), pl.col("billed_tax"))
    taxed = granted.with_columns(taxed=pl.when(pl.col("reach") == pl.col("billed")).then("billed_tax").otherwise(spent))
    return CREDITS_GRANTED.write(
        taxed.with_columns(
            tax=pl.col("taxed") - pl.col("taxed").shift(1, fill_value=0).over(over),
            excess=pl.col("asked") - pl.col("net"),
            last=pl.col("reach") == pl.col("billed"),
        )
    )


def realisation(steps: pl.DataFrame) -> pl.DataFrame:
    """Follow value from the standard rate to cash: written down before billing, written off after it.

    steps    `VALUE_STEPS`
    Returns  `REALISATION`, in the order of the steps
    """
    valued = (
        VALUE_STEPS.read(steps)
        .with_columns(down=rounded(product(pl.col("standard"), pl.col("write_down_ppm")), MILLION))
        .with_columns(billed=pl.col("standard") - pl.col("down"))
        .with_columns(collected=pl.col("billed") - pl.col("written_off"))
    )
    return REALISATION.write(
        valued.with_columns(
            realisation_permille=_permille("billed", "standard"),
            collection_permille=_permille("collected", "billed"),
        )
    )


def _permille(part: str, of: str) -> pl.Expr:
    top, bottom = product(pl.col(part), 2_000), pl.col(of).cast(pl.Int128)
    # Half away from zero; a share is only asked of values above zero.
    away = ((top.abs() + bottom) // (bottom * 2)).cast(pl.Int64)
    return pl.when(pl.col(of) > 0).then(pl.when(pl.col(part) < 0).then(-away).otherwise(away))
