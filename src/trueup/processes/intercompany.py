"""Intercompany staffing: the month's approved time of lent people is charged by who employs them to who bills it.

Starts on   an intercompany run of a month (a person), after the month was billed
Held by     a missing transfer price, cost rate or rate of exchange, each on the fact; the next run looks again
Ends with   one charge for each version of a fact, with an elimination pair for both ledgers
Undo        a later version of the fact takes the place of the charge
"""

from datetime import date
from decimal import Decimal
from typing import Any

import polars as pl

from trueup import engine
from trueup.billing.intercompany import FX, STAFFED, TRANSFER_PRICES, price_transfers
from trueup.billing.tax import Treatment, treatment
from trueup.kernel.money import from_units, to_units
from trueup.kernel.periods import first_day, last_day
from trueup.pipeline.house import Firm, House
from trueup.store import holds, intercompany, ledger, objects
from trueup.store.database import Tx
from trueup.store.holds import Hold

MISSING = {
    "ENTITY_UNMAPPED": ("No transfer price is agreed between {lender} and {borrower} on {on}.", "transfer price"),
    "RATE_MISSING": ("The lent person has no cost rate on {on}.", "cost rate"),
    "CURRENCY_MISMATCH": ("No rate of exchange {lender_currency} to {borrower_currency} is known on {on}.", "fx rate"),
}
SHAPE = "intercompany"


@engine.process
def intercompany_run(work: engine.Work, period: str) -> Any:
    """Charge one month between the legal entities, as one remembered step."""
    return work.step(charge, period)


def start(tx: Tx, period: str) -> str:
    """Queue a month's run; each asking is a run of its own, and what is charged already stays as it is."""
    asked = tx.value(
        "select count(*) from dbos.workflow_status where workflow_uuid like %s", (f"intercompany_run/{period}/%",)
    )
    return engine.start(tx, "intercompany_run", f"{period}/{int(str(asked)) + 1}", period)


def charge(house: House, period: str) -> dict[str, Any]:
    """Price and write a month's transfers; doing it twice does it once."""
    with house.database.transaction() as tx:
        staffed = _staffed(tx, house.firm, period)
        priced = price_transfers(STAFFED.read(staffed), _prices(house.firm)).with_columns(
            staffed.select("project", "resource", "fx_on", "fx_source").get_columns()
        )
        sound = priced.filter(pl.col("hold_code").is_null())
        new = intercompany.charge(tx, [_row(house.firm, row, period) for row in sound.iter_rows(named=True)])
        held = _hold(tx, house.firm, priced, period)
        return {
            "charged": sound.height,
            "new": new,
            "held": held,
            "pairs": [_shown(r) for r in intercompany.totals(tx, period)],
        }


def _row(firm: Firm, row: dict[str, Any], period: str) -> tuple[Any, ...]:
    lender, borrower = (firm.entities[row[side]].country for side in ("lender", "borrower"))
    vat = treatment(lender, borrower, has_tax_id=True)
    return (
        row["pair"], row["fact"], row["fact_version"], period, row["lender"], row["borrower"], row["project"],
        row["resource"], row["worked_on"], row["minutes"], row["rule"], row["transfer"], row["lender_currency"],
        row["transfer_borrower"], row["borrower_currency"], row["fx_e9"], row["fx_on"], row["fx_source"],
        vat.name if isinstance(vat, Treatment) else None,
    )  # fmt: skip


def _hold(tx: Tx, firm: Firm, priced: pl.DataFrame, period: str) -> int:
    """Open what cannot be priced, on the pair: a billing run ends holds on facts; and end what can be."""
    found = []
    for row in priced.filter(pl.col("hold_code").is_not_null()).iter_rows(named=True):
        sentence, releases = MISSING[row["hold_code"]]
        found.append(
            Hold(
                row["hold_code"], row["pair"], SHAPE, firm.owners.get(row["hold_code"], "controller"),
                sentence.format(**row, on=row["worked_on"]), releases, minutes=row["minutes"],
                project=row["project"], legal_entity=row["lender"], period=period,
            )
        )  # fmt: skip
    holds.place(tx, found)
    still = {(one.code, one.scope) for one in found}
    over = [
        hold["number"]
        for hold in holds.open_of(tx, scopes=priced["pair"].to_list())
        if (hold["code"], hold["scope"]) not in still
    ]
    holds.release(tx, over, "billing", "the reason is gone (intercompany run)")
    return len(found)


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    sides = (("amount", "currency"), ("amount_borrower", "currency_borrower"))
    return {**row, **{amount: format(from_units(row[amount], row[money]), "f") for amount, money in sides}}


def _prices(firm: Firm) -> pl.DataFrame:
    rows = []
    for price in firm.transfer_prices:
        fixed = price.rule == "fixed"
        value = to_units(price.value, firm.entities[price.lender].currency) if fixed else int(price.value * 1_000_000)
        rows.append((price.lender, price.borrower, price.rule, value, price.valid_from))
    schema = {name: column.dtype for name, column in TRANSFER_PRICES.columns.items()}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _staffed(tx: Tx, firm: Firm, period: str) -> pl.DataFrame:
    """Return `STAFFED` of the month plus project, resource, fx_on, fx_source; what is not billed yet comes later."""
    seen = ledger.frame(
        tx, _STAFFED,
        {"first": first_day(period), "last": last_day(period), "entities": sorted(firm.entities)},
        {"fact": pl.String, "fact_version": pl.Int64, "lender": pl.String, "borrower": pl.String, "project": pl.String,
         "resource": pl.String, "borrower_currency": pl.String, "worked_on": pl.Date, "minutes": pl.Int64,
         "client_amount": pl.Int64},
    )  # fmt: skip
    currencies = {code: entity.currency for code, entity in firm.entities.items()}
    costs = [
        (
            rate.body["resource"],
            rate.body["currency"],
            date.fromisoformat(rate.body["valid_from"]),
            to_units(Decimal(rate.body["amount"]), rate.body["currency"]),
        )
        for rate in objects.of_kind(tx, "cost_rate")
        if rate.status == "active"
    ]
    of_cost = {"resource": pl.String, "lender_currency": pl.String, "worked_on": pl.Date, "cost_rate": pl.Int64}
    exchange = [
        (fx.base, fx.quote, fx.on, int(fx.rate * FX), fx.on, fx.source) for fx in firm.fx_rates if fx.purpose == "day"
    ]
    of_fx = {
        "lender_currency": pl.String, "borrower_currency": pl.String, "worked_on": pl.Date, "fx_e9": pl.Int64,
        "fx_on": pl.Date, "fx_source": pl.String,
    }  # fmt: skip
    return (
        seen.with_columns(
            pl.col("lender").replace_strict(currencies, default=None, return_dtype=pl.String).alias("lender_currency")
        )
        .sort("worked_on", "fact")
        .join_asof(
            pl.DataFrame(costs, schema=of_cost, orient="row").sort("worked_on"),
            on="worked_on", by=["resource", "lender_currency"], check_sortedness=False,
        )
        .join_asof(
            pl.DataFrame(exchange, schema=of_fx, orient="row").sort("worked_on"),
            on="worked_on", by=["lender_currency", "borrower_currency"], check_sortedness=False,
        )
    )  # fmt: skip


_STAFFED = """
    select t.gid, t.version::bigint, r.body ->> 'legal_entity', p.body ->> 'legal_entity', t.project, t.resource,
        p.body ->> 'currency', t.worked_on, t.minutes::bigint, c.amount
    from time_entries t
    join objects r on r.gid = t.resource
    join objects p on p.gid = t.project
    join (select fact, sum(amount)::bigint as amount from charges where kind in ('time', 'overage') group by fact) c
        on c.fact = t.gid
    where t.status = 'approved' and t.tombstone is null and t.worked_on between %(first)s and %(last)s
        and r.body ->> 'legal_entity' = any(%(entities)s) and p.body ->> 'legal_entity' = any(%(entities)s)
        and r.body ->> 'legal_entity' <> p.body ->> 'legal_entity'
"""
