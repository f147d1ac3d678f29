"""Reads what tax looks at besides seller and buyer, where the firm says anything about tax."""

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

import polars as pl

from trueup.billing.frames import PROJECTS
from trueup.billing.nexus import SALES, track
from trueup.billing.tax import OPTIONAL
from trueup.billing.withholding import with_withholding
from trueup.kernel.periods import last_day
from trueup.pipeline.house import Firm
from trueup.store import ledger
from trueup.store.database import Tx
from trueup.store.objects import Held


def with_supplies(
    tx: Tx,
    firm: Firm,
    projects: pl.DataFrame,
    contracts: Mapping[str, Held],
    customers: Mapping[str, Held],
    period: str,
) -> pl.DataFrame:
    """Add the columns of `tax.OPTIONAL` to projects; a firm that says nothing about tax gets none.

    projects   `PROJECTS`
    contracts  gid → contract of each project
    customers  gid → bill-to of each project
    period     month whose last day is the day of the documents
    """
    if firm.tax is None:
        return projects
    packages = {line["key"]: line["package"] for contract in contracts.values() for line in contract.body["lines"]}
    liable = {entity: nexus_of(tx, firm, entity, last_day(period)) for entity in projects["legal_entity"].unique()}
    rows = []
    for project in projects.select("contract", "legal_entity", "line_key", "bill_to").iter_rows(named=True):
        entity, contract = project["legal_entity"], contracts[project["contract"]]
        sold = firm.tax.service(project["line_key"], contract.body["code"], packages[project["line_key"]])
        rows.append(
            {
                **firm.tax.supplied_by(entity),
                **buyer(firm, entity, customers.get(project["bill_to"]), liable[entity]),
                "service_category": sold.category,
                "used_in": sold.used_in,
                "service_code": sold.code,
                "supplied_on": last_day(period),
            }
        )
    dtypes = {name: PROJECTS.columns[name].dtype for name in OPTIONAL}
    return projects.hstack(pl.DataFrame(rows, schema=dtypes))


def buyer(firm: Firm, entity: str, customer: Held | None, liable: Mapping[str, bool]) -> dict[str, Any]:
    """Return what a customer fills of `tax.OPTIONAL`; nothing where the firm says nothing about tax.

    liable  state → whether the legal entity is liable for sales tax there
    """
    if firm.tax is None or customer is None:
        return {}
    body = customer.body
    return firm.tax.bought_by(entity, body["country"], body["region"], body["tax_id"], liable)


def nexus_of(tx: Tx, firm: Firm, entity: str, on: date) -> dict[str, bool]:
    """Return the states a legal entity has sold into or is present in, and whether it is liable there."""
    if firm.tax is None or firm.entities[entity].country != "US":
        return {}
    return dict(tracker(tx, firm, entity, on).select("state", "nexus").iter_rows())


def tracker(tx: Tx, firm: Firm, entity: str, on: date) -> pl.DataFrame:
    """Say how far a legal entity is from being liable in each state, see `nexus.track`.

    Counts posted invoices in US dollars, less posted credits, by the state of the customer.
    """
    sales = ledger.frame(
        tx,
        """
        select c.body ->> 'region', (i.body ->> 'invoice_date')::date,
            (case when i.body ->> 'invoice_type' = 'credit' then -1 else 1 end
                * (i.body ->> 'net')::numeric * 1000000)::bigint
        from objects i join objects c on c.gid = i.body ->> 'customer'
        where i.kind = 'invoice' and i.tombstone is null and i.status in ('posted', 'part_paid', 'paid', 'credited')
            and i.body ->> 'legal_entity' = %(entity)s and i.body ->> 'currency' = 'USD'
            and c.body ->> 'country' = 'US' and c.body ->> 'region' is not null
            and (i.body ->> 'invoice_date')::date <= %(on)s
        """,
        {"entity": entity, "on": on},
        SALES,
    )
    states = firm.tax.states.get(entity, {}) if firm.tax else {}
    return track(sales, [state for state, known in states.items() if known.presence], on)


def withheld(tx: Tx, firm: Firm, invoices: pl.DataFrame) -> dict[str, int]:
    """Return what is withheld of each invoice, units, by code; only of those something is withheld of.

    invoices  `INVOICES`
    """
    if firm.tax is None or not firm.tax.withholding:
        return {}
    numbers = tx.rows(
        "select gid, body ->> 'customer_number' as number from objects where kind = 'customer' and gid = any(%s)",
        (invoices["bill_to"].unique().to_list(),),
    )
    known = {row["number"]: row["gid"] for row in numbers if row["number"]}
    found = with_withholding(invoices, firm.tax.withheld(known))
    return dict(_some(found.select("code", "withheld").iter_rows()))


def _some(rows: Iterable[tuple[Any, ...]]) -> Iterable[tuple[str, int]]:
    return ((code, units) for code, units in rows if units)
