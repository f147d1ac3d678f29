"""What a person should know about a run although it stops nothing: caps nearly reached, bills that fall with more work."""

import polars as pl

from trueup.billing.frames import WARNINGS, RunFacts
from trueup.billing.measuring import HUNDREDTHS
from trueup.billing.rounding import HOUR
from trueup.billing.terms import PLAIN, Tiers
from trueup.kernel.money import from_units, round_money, to_units

PERCENT = 100


def warnings_of(charges: pl.DataFrame, parts: pl.DataFrame, facts: RunFacts) -> pl.DataFrame:
    """List what a person should know.

    charges  `CHARGES` of the run
    parts    what they were made of; tier_total i64|null hundredths of a minute
    facts    the run's facts
    Returns  `WARNINGS`
    """
    rows = [*_caps(charges, facts), *_cliffs(parts, facts)]
    schema = {name: column.dtype for name, column in WARNINGS.columns.items()}
    return pl.DataFrame(rows, schema=schema, orient="row").sort("project", "code", "limit")


def reached(used: int, cap: int, thresholds: tuple[int, ...]) -> int | None:
    """Return the highest threshold in per cent that is reached, None where none is.

    >>> reached(92, 100, (75, 90, 100)), reached(10, 100, (75, 90, 100))
    (90, None)
    """
    return max((at for at in thresholds if used > 0 and used * PERCENT >= cap * at), default=None)


def cliff(tiers: Tiers, minutes_hundredths: int, currency: str) -> tuple[int, int, int] | None:
    """Say whether less work would have cost more: (bill, higher bill, its minutes), units; None where it would not.

    tiers               a price by volume
    minutes_hundredths  the total, hundredths of a minute
    currency            ISO 4217
    """
    if tiers.kind != "volume":
        return None

    def bill(hundredths: int) -> int:
        step = next(
            step for step in tiers.steps if step.up_to_minutes is None or hundredths <= step.up_to_minutes * HUNDREDTHS
        )
        return to_units(round_money(step.rate * hundredths / (HUNDREDTHS * HOUR), currency), currency)

    now = bill(minutes_hundredths)
    lower = [
        (bill(step.up_to_minutes * HUNDREDTHS), step.up_to_minutes)
        for step in tiers.steps
        if step.up_to_minutes is not None and step.up_to_minutes * HUNDREDTHS < minutes_hundredths
    ]
    highest = max(lower, default=(0, 0))
    return (now, *highest) if highest[0] > now else None


def _caps(charges: pl.DataFrame, facts: RunFacts) -> list[tuple[str, str, int, int, str]]:
    capped = facts.projects.filter(pl.col("cap").is_not_null())
    billed = (
        charges.filter(
            (pl.col("kind") == "time")
            & (pl.col("bucket") == "on_draft")
            & pl.col("project").is_in(capped["project"].to_list())
        )
        .group_by("project")
        .agg(pl.col("amount").sum())
    )
    rows = []
    known = capped.join(billed, on="project").select("project", "cap", "cap_used", "amount", "currency")
    for project, cap, before, amount, currency in known.iter_rows():
        at = reached(before + amount, cap, facts.terms.get(project, PLAIN).warn_at)
        if at is not None:
            used, limit = from_units(before + amount, currency), from_units(cap, currency)
            sentence = (
                f"{used:f} of {limit:f} {currency} is billed, {at} % of the cap or more; agree a change order in time."
            )
            rows.append((project, "CAP_REACHED", before + amount, cap, sentence))
    return rows


def _cliffs(parts: pl.DataFrame, facts: RunFacts) -> list[tuple[str, str, int, int, str]]:
    if "tier_total" not in parts.columns:
        return []
    totals = parts.filter(pl.col("tier_total").is_not_null()).select("project", "currency", "tier_total").unique()
    rows = []
    for project, currency, total in totals.iter_rows():
        tiers = facts.terms[project].tiers
        found = cliff(tiers, total, currency) if tiers else None
        if found:
            bill, higher, minutes = found
            sentence = (
                f"{total / (HUNDREDTHS * HOUR):.2f} h cost {from_units(bill, currency):f} {currency}, "
                f"{minutes / HOUR:.2f} h would cost {from_units(higher, currency):f}: more work gives a lower bill."
            )
            rows.append((project, "TIER_CLIFF", bill, higher, sentence))
    return rows
