"""Retainers with hours that roll over: what is used from where, what expires, what is billed, earned and owed.

A month's fee buys a lot of minutes. Lots are used up oldest first, or the month's own first; what is left rolls over
for some months, up to a cap, and then expires. Each lot earns its own fee by cumulative rounding, so that a lot used up
or expired has earned exactly what was billed for it, and the liability is what the open lots have not earned.
"""

import polars as pl

from trueup.billing.frames import Shape, flag, text, units, whole
from trueup.billing.rounding import HOUR, MILLION, product, rounded

RETAINER_MONTHS = Shape(
    "retainer_months",
    "one month of one retainer",
    {
        "retainer": text("contract line of the retainer"),
        "month": whole("1, 2, 3 ... from its first month on, without a gap"),
        "fee": units("of the month"),
        "included": whole("minutes the fee buys"),
        "overage_rate": units("per hour beyond all that is open"),
        "roll_months": whole("months after its own in which a minute may still be used; 0 lets it expire at once"),
        "roll_cap": whole("minutes that may be rolled over at one time"),
        "oldest_first": flag("use what expires first; else the month's own minutes first"),
        "expected_breakage_ppm": whole(
            "share of the minutes expected never to be used, earned in proportion to use; 0 earns it on expiry"
        ),
        "used": whole("minutes worked in the month"),
    },
)

RETAINER_TABLE = Shape(
    "retainer_table",
    "one month of one retainer, worked out",
    {
        "retainer": text("contract line of the retainer"),
        "month": whole("1, 2, 3 ..."),
        "used": whole("minutes worked"),
        "from_roll_over": whole("of them from earlier months"),
        "overage": whole("of them beyond all that was open"),
        "expired": whole("minutes that can no longer be used, those above the cap among them"),
        "rolled": whole("minutes open for later months"),
        "billed": units("fee and overage"),
        "recognised": units("earned: use, overage and breakage"),
        "liability": units("billed and not earned, from the beginning"),
    },
)

RETAINER_USES = Shape(
    "retainer_uses",
    "one entry on a retainer that several projects share",
    {
        "retainer": text("contract line of the retainer"),
        "month": whole("1, 2, 3 ..."),
        "project": text("project worked on"),
        "source_order": whole("order of consumption within the month: service date, then entry"),
        "minutes": whole("worked"),
    },
)

RETAINER_SHARES = Shape(
    "retainer_shares",
    "one project's part in a retainer's month",
    {
        "retainer": text("contract line of the retainer"),
        "month": whole("1, 2, 3 ..."),
        "project": text("project worked on"),
        "covered": whole("minutes the retainer covers"),
        "overage": whole("minutes beyond it"),
    },
)


def retainer_table(months: pl.DataFrame) -> pl.DataFrame:
    """Work out every month of many retainers, month by month for all of them at once.

    months   `RETAINER_MONTHS`
    Returns  `RETAINER_TABLE`, sorted by retainer and month
    Raises   ValueError naming retainers whose months have a gap, do not begin with 1, or roll over differently.
    """
    rows = RETAINER_MONTHS.read(months).sort("retainer", "month")
    _refuse_gaps(rows)
    depth, last = (_greatest(rows, name) for name in ("roll_months", "month"))
    state = rows.select("retainer").unique(maintain_order=True)
    state = state.with_columns(_nothing(n) for n in range(1, depth + 1)).with_columns(liability=pl.lit(0, pl.Int64))
    tables = [RETAINER_TABLE.empty()]
    for number in range(1, last + 1):
        now = rows.filter(pl.col("month") == number).join(state, on="retainer", how="left")
        done = _close(_use(now, depth), depth)
        tables.append(RETAINER_TABLE.write(done))
        state = done.select("retainer", *(f"lot_{n}" for n in range(1, depth + 1)), "liability")
    return pl.concat(tables).sort("retainer", "month")


def share_out(uses: pl.DataFrame, table: pl.DataFrame) -> pl.DataFrame:
    """Share a month's cover over the projects that used it, in the order of the work.

    uses     `RETAINER_USES`; the minutes of a month add up to `used`
    table    `RETAINER_TABLE`
    Returns  `RETAINER_SHARES`, sorted by retainer, month and project
    """
    over = ["retainer", "month"]
    limits = RETAINER_TABLE.read(table).select(*over, limit=pl.col("used") - pl.col("overage"))
    ordered = (
        RETAINER_USES.read(uses).sort(*over, "source_order", "project").join(limits, on=over, maintain_order="left")
    )
    before = (pl.col("minutes").cum_sum() - pl.col("minutes")).over(over)
    covered = pl.min_horizontal(pl.col("minutes"), (pl.col("limit") - before).clip(lower_bound=0))
    return RETAINER_SHARES.write(
        ordered.with_columns(covered=covered)
        .group_by(*over, "project")
        .agg(pl.col("covered").sum(), overage=(pl.col("minutes") - pl.col("covered")).sum())
        .sort(*over, "project")
    )


def _greatest(rows: pl.DataFrame, column: str) -> int:
    return int(rows.select(pl.col(column).max().fill_null(0)).item())


def _nothing(slot: int) -> pl.Expr:
    """Return an empty slot; a lot is minutes left and bought, its fee, and the share of breakage that is expected."""
    names = ("left", "size", "fee", "breakage")
    return pl.struct(pl.lit(0, pl.Int64).alias(name) for name in names).alias(f"lot_{slot}")


def _refuse_gaps(rows: pl.DataFrame) -> None:
    wrong = rows.filter(pl.col("month") != pl.int_range(1, pl.len() + 1).over("retainer"))["retainer"].unique().sort()
    if len(wrong):
        raise ValueError(f"the months of a retainer run 1, 2, 3 ...; put right {', '.join(wrong)}")
    several = rows.group_by("retainer").agg(pl.col("roll_months").n_unique()).filter(pl.col("roll_months") > 1)
    if several.height:
        named = ", ".join(several["retainer"].sort())
        raise ValueError(f"the months of roll-over are agreed once for a retainer; put right {named}")


def _use(now: pl.DataFrame, depth: int) -> pl.DataFrame:
    """Take the month's minutes from the lots; lot n expires at the end of the n-th month from here, lot 0 is new."""
    fresh = pl.struct(
        pl.col("included").alias("left"),
        pl.col("included").alias("size"),
        pl.col("fee"),
        pl.col("expected_breakage_ppm").alias("breakage"),
    ).alias("lot_0")
    used = now.with_columns(fresh, wanted=pl.col("used"), from_roll_over=pl.lit(0, pl.Int64))
    # A retainer has lots up to its own roll-over, so a slot beyond it is empty and the order of slots is the right one.
    for oldest_first, slots in ((None, ()), (True, (*range(1, depth + 1), 0)), (False, (0, *range(1, depth + 1)))):
        for slot in slots:
            lot = pl.col(f"lot_{slot}")
            take = pl.when(pl.col("oldest_first") == oldest_first).then(
                pl.min_horizontal("wanted", lot.struct.field("left"))
            ).otherwise(0)  # fmt: skip
            first = f"taken_{slot}" not in used.columns
            used = used.with_columns(take=take).with_columns(
                (pl.col("take") if first else pl.col(f"taken_{slot}") + pl.col("take")).alias(f"taken_{slot}"),
                wanted=pl.col("wanted") - pl.col("take"),
            )
    over = pl.sum_horizontal(*(f"taken_{slot}" for slot in range(1, depth + 1))) if depth else pl.lit(0, pl.Int64)
    return used.with_columns(from_roll_over=over, overage=pl.col("wanted"))


def _close(used: pl.DataFrame, depth: int) -> pl.DataFrame:
    """Expire, roll over up to the cap, and count the money."""
    left = {slot: pl.col(f"lot_{slot}").struct.field("left") - pl.col(f"taken_{slot}") for slot in range(depth + 1)}
    ends = {slot: left[slot] if slot == 1 else pl.lit(0, pl.Int64) for slot in range(1, depth + 1)}
    staying = (
        pl.sum_horizontal(*(left[slot] for slot in range(2, depth + 1))) if depth > 1 else pl.lit(0, pl.Int64)
    )  # fmt: skip
    room = (pl.col("roll_cap") - staying).clip(lower_bound=0)
    rolls = pl.when(pl.col("roll_months") > 0).then(pl.min_horizontal(left[0], room)).otherwise(0)
    ends[0] = left[0] - rolls
    worked = used.with_columns(
        *((ends[slot]).alias(f"ended_{slot}") for slot in range(depth + 1)),
    ).with_columns(
        expired=pl.sum_horizontal(*(f"ended_{slot}" for slot in range(depth + 1))),
        rolled=staying + rolls,
        over_amount=rounded(product(pl.col("overage"), pl.col("overage_rate")), HOUR),
        earned=pl.sum_horizontal(*(_earned(slot) for slot in range(depth + 1))),
    )
    money = worked.with_columns(
        billed=pl.col("fee") + pl.col("over_amount"), recognised=pl.col("earned") + pl.col("over_amount")
    ).with_columns(liability=pl.col("liability") + pl.col("billed") - pl.col("recognised"))
    return money.with_columns(_moved_on(slot, depth) for slot in range(1, depth + 1))


def _earned(slot: int) -> pl.Expr:
    """Return what one lot earned in the month: what it has earned by now less what it had earned before."""
    lot = pl.col(f"lot_{slot}")
    before = lot.struct.field("size") - lot.struct.field("left")
    now = _by_use(lot, before + pl.col(f"taken_{slot}") + pl.col(f"ended_{slot}"))
    # A lot of this month has earned nothing before, even one that bought no minutes.
    return now if slot == 0 else now - _by_use(lot, before)


def _by_use(lot: pl.Expr, gone: pl.Expr) -> pl.Expr:
    """Return what a lot has earned once so many of its minutes are used or expired; all of its fee when all are."""
    size, fee, breakage = (lot.struct.field(name) for name in ("size", "fee", "breakage"))
    expected = product(size, MILLION) - product(size, breakage)
    share = rounded(product(fee, gone) * MILLION, pl.when(expected > 0).then(expected).otherwise(pl.lit(1, pl.Int128)))
    return pl.when(gone == size).then(fee).otherwise(pl.min_horizontal(share, fee))


def _moved_on(slot: int, depth: int) -> pl.Expr:
    """Return what lies in a slot next month: the lot one slot further, or the month's own where it rolls that far."""
    fresh = pl.col("lot_0").struct.with_fields(
        left=pl.col("lot_0").struct.field("left") - pl.col("taken_0") - pl.col("ended_0"),
    )
    own = pl.when(pl.col("roll_months") == slot).then(fresh)
    if slot == depth:
        return own.otherwise(_nothing(slot)).alias(f"lot_{slot}")
    further = pl.col(f"lot_{slot + 1}")
    kept = further.struct.with_fields(left=further.struct.field("left") - pl.col(f"taken_{slot + 1}"))
    return own.otherwise(kept).alias(f"lot_{slot}")
