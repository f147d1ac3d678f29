"""Every frame billing reads or writes: each column with its type and unit, in one place.

Money is in *units*: minor units x 10^4 in the row's currency (see `trueup.kernel.money`). Shares are parts per million
(`_ppm`, 50_000 is 5 %). Minutes are whole minutes. Dates are plain dates. A column may be null only where it says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import polars as pl

from trueup.billing.terms import PLAIN, Terms
from trueup.kernel.errors import Broken


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a frame.

    dtype     Polars type
    meaning   what a value says, with its unit
    nullable  whether a value may be missing
    optional  whether the whole column may be left out of what is read
    """

    dtype: pl.DataType
    meaning: str
    nullable: bool = False
    optional: bool = False


def text(meaning: str) -> Column:
    """Describe a text column."""
    return Column(pl.String(), meaning)


def day(meaning: str) -> Column:
    """Describe a column of plain dates."""
    return Column(pl.Date(), meaning)


def flag(meaning: str) -> Column:
    """Describe a yes/no column."""
    return Column(pl.Boolean(), meaning)


def whole(meaning: str) -> Column:
    """Describe a column of whole numbers: minutes, counts, days, parts per million."""
    return Column(pl.Int64(), meaning)


def units(meaning: str) -> Column:
    """Describe a money column, in units (minor units x 10^4)."""
    return Column(pl.Int64(), f"{meaning}, units")


def maybe(column: Column) -> Column:
    """Allow the column to be null."""
    return replace(column, nullable=True)


def optional(column: Column) -> Column:
    """Allow the column to be left out; where it is there, it may be null."""
    return replace(column, nullable=True, optional=True)


@dataclass(frozen=True, slots=True)
class Shape:
    """The columns of one kind of frame, in order.

    name     plural noun, for messages and the reference page
    row      what one row is
    columns  column name → type, meaning and unit
    """

    name: str
    row: str
    columns: Mapping[str, Column]

    def read(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return the frame with exactly these columns, in this order; further columns are left behind.

        An optional column that is not there is not made up: whoever looks at it asks `with_optional` for it.

        Raises    Broken when a column is missing, has another type, or is null where it may not be.

        >>> CREDITED.read(CREDITED.empty()).shape
        (0, 6)
        """
        there = {name: column for name, column in self.columns.items() if not column.optional or name in frame.columns}
        missing = [name for name in there if name not in frame.columns]
        if missing:
            raise Broken(f"the frame {self.name} lacks {', '.join(missing)}")
        wrong = [name for name, column in there.items() if not _fits(frame.schema[name], column.dtype)]
        if wrong:
            seen = ", ".join(f"{name} is {frame.schema[name]}, not {self.columns[name].dtype}" for name in wrong)
            raise Broken(f"the frame {self.name} has wrong types: {seen}")
        taken = frame.select(pl.col(name).cast(column.dtype) for name, column in there.items())
        required = [name for name, column in there.items() if not column.nullable]
        holes = [name for name in required if taken[name].null_count()]
        if holes:
            raise Broken(f"the frame {self.name} has empty values in {', '.join(holes)}")
        return taken

    def write(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return the frame with exactly these columns and types; a column nobody filled becomes null."""
        return frame.select(
            (pl.col(name) if name in frame.columns else pl.lit(None)).cast(column.dtype).alias(name)
            for name, column in self.columns.items()
        )

    def with_optional(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return the frame with every optional column of the shape, null where it was left out."""
        absent = {name: column.dtype for name, column in self.columns.items() if name not in frame.columns}
        return frame.with_columns(
            pl.lit(None, dtype).alias(name) for name, dtype in absent.items() if self.columns[name].optional
        )

    def empty(self) -> pl.DataFrame:
        """Return a frame of this shape without rows."""
        return pl.DataFrame(schema={name: column.dtype for name, column in self.columns.items()})


def _fits(seen: pl.DataType, wanted: pl.DataType) -> bool:
    both_whole = seen in _WHOLE and wanted in _WHOLE
    without_values = seen in (pl.Null(), pl.List(pl.Null()))
    return seen == wanted or both_whole or without_values


_WHOLE = frozenset({pl.Int8(), pl.Int16(), pl.Int32(), pl.Int64(), pl.UInt8(), pl.UInt16(), pl.UInt32()})

# --- what a billing run reads -----------------------------------------------------------------------------------------

ENTRIES = Shape(
    "entries",
    "one time entry in its newest version",
    {
        "gid": text("the time entry"),
        "fact_version": Column(pl.Int32(), "version of the entry that is priced"),
        "source_order": whole("the time system's own number; orders entries of one day"),
        "contract": text("its contract"),
        "project": text("its project"),
        "role": maybe(text("role worked in")),
        "resource": maybe(text("who worked")),
        "worked_on": day("service date"),
        "minutes": whole("minutes of the whole entry"),
        "open_minutes": whole("minutes not yet in a final bucket; below zero when more was billed than is now worked"),
        "allocated_amount": units(
            "price of the minutes that are no longer open: on drafts, invoiced, credited or written off; 0 for none"
        ),
        "billable": flag("whether the time may be billed at all"),
        "status": text("draft, submitted, approved or rejected"),
        "task": optional(text("task worked on")),
        "time_type": optional(text("kind of hour, a name in the terms")),
        "person": optional(text("name of who worked, for lines by person")),
        "task_name": optional(text("name of the task, for lines by task")),
    },
)

EXPENSES = Shape(
    "expenses",
    "one expense line in its newest version",
    {
        "gid": text("the expense line"),
        "fact_version": Column(pl.Int32(), "version of the line that is priced"),
        "source_order": whole("the expense system's own number; orders lines of one day"),
        "contract": text("its contract"),
        "project": text("its project"),
        "resource": maybe(text("who spent")),
        "spent_on": day("service date"),
        "category": text("Airfare, Hotel, Meals ..."),
        "amount": units("the whole line, before markup, in the project's currency"),
        "open_amount": units("part not yet in a final bucket, before markup"),
        "billable": flag("whether it may be charged on"),
        "status": text("submitted, approved, posted or reimbursed; the last three count as approved"),
        "has_receipt": flag("whether a receipt is attached"),
        "currency_spent": optional(text("ISO 4217 the amounts of this line are in; null for the project's")),
        "card_rate_e8": optional(whole("rate on the card statement: project's currency for one spent, x 10^8")),
        "allocated_amount": optional(units("price of the part that is no longer open")),
    },
)

PROJECTS = Shape(
    "projects",
    "one project: a contract in one legal entity, and therefore one currency and one bill-to",
    {
        "project": text("the project"),
        "code": text("deal and entity: D07-US01"),
        "contract": text("its contract"),
        "legal_entity": text("the entity that bills"),
        "currency": text("ISO 4217"),
        "bill_to": text("the customer who gets the invoice"),
        "terms_days": whole("days from invoice date to due date"),
        "seller_country": text("ISO 3166 alpha-2 of the legal entity"),
        "buyer_country": maybe(text("ISO 3166 alpha-2 of the bill-to")),
        "buyer_has_tax_id": flag("whether the bill-to has a VAT id"),
        "contract_active": flag("whether a contract version is in force"),
        "method": text("time_and_materials, fixed_fee, retainer or pass_through: how the main line bills time"),
        "line_key": text("contract line of the main line"),
        "cap": maybe(units("all time the line may bill in total, change orders included; null for no cap")),
        "cap_used": units("of the cap: on documents already, credits deducted"),
        "pass_through": flag("whether a line charges expenses on"),
        "pass_through_line": maybe(text("contract line that charges expenses on")),
        "markup_ppm": whole("added to charged expenses, parts per million"),
        "monthly_fee": maybe(units("retainer: fee of a month")),
        "included_minutes": maybe(whole("retainer: minutes a month's fee covers; null for no limit")),
        "overage_rate": maybe(units("retainer: per hour above the included minutes")),
        "period_included_used": whole("retainer: minutes of this period already covered"),
        "fees_due": Column(
            pl.List(pl.String()), "retainer: months up to the period whose fee is on no document yet; empty for none"
        ),
        "credit_hold": optional(flag("whether the books have blocked the customer")),
        "registered_in": optional(
            Column(pl.List(pl.String()), "countries the seller is registered for VAT in, beside its own")
        ),
        "buyer_region": optional(text("state of a bill-to in the United States: NY")),
        "vat_id": optional(text("VAT id of the bill-to whose form is to be checked; null checks none")),
        "vat_id_valid": optional(flag("what the register answered for it; null when it was not asked")),
        "vat_id_checked_on": optional(day("day the register was asked")),
        "service_category": optional(text("general (also null), or one of `tax_tables.PLACE_BOUND`")),
        "used_in": optional(text("ISO 3166 alpha-2 of the country where a place-bound service happens")),
        "service_code": optional(text("one of `tax_tables.SERVICES`")),
        "nexus": optional(flag("whether the seller is liable for sales tax in the bill-to's state")),
        "state_rate_ppm": optional(whole("combined sales tax rate there, parts per million; null: not registered")),
        "supplied_on": optional(day("day whose law decides; null takes the newest")),
        "rolled_minutes": optional(whole("retainer: minutes of earlier months that may still be used in this period")),
        "period_billed": optional(units("time and top-up of the period that is on documents already")),
    },
)

RATES = Shape(
    "rates",
    "one rate line: a price per hour for whom and where its selectors say; an empty selector fits all",
    {
        "gid": text("the rate line"),
        "contract": maybe(text("contract it prices")),
        "role": maybe(text("role it prices")),
        "currency": text("ISO 4217; a contract in two currencies has lines in both"),
        "rate": units("per hour"),
        "valid_from": day("first day it prices"),
        "valid_to": maybe(day("last day it prices; null for no end")),
        "resource": optional(text("person it prices")),
        "task": optional(text("task it prices")),
        "project": optional(text("project it prices")),
        "tier": optional(text("negotiated or list; null for negotiated")),
    },
)

FX_RATES = Shape(
    "fx_rates",
    "one published exchange rate",
    {
        "from_currency": text("ISO 4217"),
        "to_currency": text("ISO 4217"),
        "purpose": text("day, or average: the published average of the month that `day` lies in"),
        "day": day("publication date"),
        "rate_e8": whole("units of `to` for one of `from`, x 10^8"),
        "source": text("who published it"),
    },
)

STOPS = Shape(
    "stops",
    "one open reason from outside the engine why something may not be billed",
    {
        "scope": text("a fact, task, project or contract: everything below it waits"),
        "code": text("MANUAL, LABOUR_CHECK, DUPLICATE_SUSPECT, CHANGE_ORDER_PENDING ... (see `holds.REASONS`)"),
    },
)

PAID_SHARES = Shape(
    "paid_shares",
    "what one of several payers has on documents of a fact that is open again in part",
    {
        "fact": text("the time entry or expense line"),
        "bill_to": text("the payer"),
        "amount": units("price of the payer's share, credits that are billed again taken off"),
        "minutes": whole("minutes of the same; 0 for an expense"),
    },
)

MILESTONES = Shape(
    "milestones",
    "one milestone that may be ready to bill",
    {
        "gid": text("the milestone"),
        "fact_version": Column(pl.Int32(), "version that is priced"),
        "key": text("business key, also the invoice code: D05-M2"),
        "name": text("as the client knows it"),
        "contract": text("its contract"),
        "project": text("its project"),
        "contract_line": text("contract line it belongs to"),
        "sequence": whole("order within the line"),
        "open_amount": units("part of its amount not yet on a document"),
        "acceptance_required": flag("whether the client must sign before it is billed"),
        "completed_on": maybe(day("day the work was complete")),
        "accepted_on": maybe(day("day the client signed")),
        "status": text("planned, in_progress, completed or cancelled"),
        "retained": optional(units("of its whole amount, kept back until the client has signed; null for nothing")),
    },
)

# --- what a billing run decides ---------------------------------------------------------------------------------------

CHARGES = Shape(
    "charges",
    "one fact, or one part of it, priced, in exactly one bucket",
    {
        "key": text("fact/version/facet; the facet of time is its range of minutes, 0-300; same facts, same key"),
        "fact": text("time entry, expense line, milestone, or for a fee the project"),
        "fact_version": Column(pl.Int32(), "version of the fact; 0 for a fee"),
        "kind": text("time, expense, fee, overage, minimum, discount or milestone"),
        "project": text("its project"),
        "contract": text("its contract"),
        "contract_line": maybe(text("contract line that earns it")),
        "service_on": day("day of work or spending, month end of a fee, trigger of a milestone"),
        "source_order": whole("order within one service date"),
        "minutes": maybe(whole("minutes of the fact in this charge; null where not time")),
        "spent": maybe(units("expense covered by this charge, before markup; null where not an expense")),
        "quantity": whole("minutes of time as they are charged (rounded, overtime counted more), 1 of anything else"),
        "rate": maybe(units("per hour, after line discount and exchange")),
        "amount": units("value to the client; 0 where covered, non-billable or without a rate"),
        "currency": maybe(text("ISO 4217; null only where the project is unknown")),
        "bucket": text("on_draft, held, over_cap, covered_by_fixed_fee or non_billable"),
        "hold_code": maybe(text("first of its holds; one of `holds.TAX` only when nothing else holds it")),
        "invoice_code": maybe(text("draft it is on")),
        "line_key": maybe(text("invoice line it is on")),
        "rate_line": maybe(text("rate line that priced it")),
        "purchase_order": maybe(text("the client's order it draws on")),
        "origin_period": maybe(text("month of the service date where that month is closed: 2026-01; null elsewhere")),
        "trace": text("JSON object: the rule, dates, limits and rounding that made the amount"),
    },
)

INVOICES = Shape(
    "invoices",
    "one draft invoice",
    {
        "code": text("business key: D07-US01-2026-08 or D05-M2"),
        "project": text("its project"),
        "contract": text("its contract"),
        "legal_entity": text("the entity that bills"),
        "currency": text("ISO 4217"),
        "bill_to": text("the customer"),
        "invoice_date": day("date on the document"),
        "due_on": day("invoice date + payment terms"),
        "period": text("accounting month: 2026-08"),
        "tax_treatment": text(
            "domestic_de, domestic_us, sales_tax_ny, reverse_charge, outside_scope or disbursement (see `charges`)"
        ),
        "tax_rate_ppm": whole("parts per million: 190_000 is 19 %"),
        "tax_reason": maybe(text("the rule of the treatment, for the reader of the invoice")),
        "net": units("sum of the lines"),
        "tax": units("net x rate, rounded once"),
        "gross": units("net + tax"),
    },
)

INVOICE_LINES = Shape(
    "invoice_lines",
    "one line of a draft invoice",
    {
        "invoice_code": text("its invoice"),
        "line_key": text("sorts the lines: 0-fee-retainer, 1-time-Analyst-0000120.00, 2-expense-Hotel, 3-overage"),
        "description": text("for the client"),
        "charge_kind": text("time, expense, fee, overage, minimum, discount or milestone"),
        "contract_line": maybe(text("contract line that earns it")),
        "quantity": whole("minutes of time, count of anything else"),
        "unit": text("minute or count"),
        "rate": maybe(units("per hour of time, per piece of a fee or milestone; null for expenses")),
        "net": units("sum of its charges"),
        "tax_treatment": maybe(text("that of its invoice")),
        "tax_code": maybe(text("EN 16931 VAT category: S, AE, O ... (see `tax.category_of`)")),
        "tax_rate_ppm": maybe(whole("parts per million")),
        "tax_reason": maybe(text("why it is taxed so; why not, where it is not")),
    },
)

HOLDS = Shape(
    "holds",
    "one reason why one fact may not be billed yet; a fact with two reasons has two rows",
    {
        "scope": text("the fact; for a fee the project"),
        "code": text("APPROVAL_MISSING, RATE_MISSING ... (see `holds.REASONS`)"),
        "kind": text("time, expense, fee, overage or milestone"),
        "project": text("its project"),
        "contract": text("its contract"),
        "service_on": day("service date"),
        "currency": maybe(text("ISO 4217; null only where the project is unknown")),
        "amount": units("value that waits"),
        "minutes": whole("minutes that wait; 0 where not time"),
        "sentence": text("the reason, for a finance clerk"),
    },
)

WARNINGS = Shape(
    "warnings",
    "one thing a person should know, that stops nothing",
    {
        "project": text("the project"),
        "code": text("CAP_REACHED or TIER_CLIFF"),
        "amount": units("what is used or billed"),
        "limit": units("what it is compared with"),
        "sentence": text("for a project manager"),
    },
)

# --- credit notes -----------------------------------------------------------------------------------------------------

ALLOCATIONS = Shape(
    "allocations",
    "one charge on one invoice line, less what was credited before",
    {
        "charge": text("key of the charge"),
        "fact": text("the time entry, expense line or milestone"),
        "service_on": day("its service date"),
        "source_order": whole("order within one service date"),
        "minutes": whole("minutes still billed; 0 where not time"),
        "amount": units("net still billed, zero or above"),
    },
)

CREDITED = Shape(
    "credited",
    "part of a charge taken back by a credit note",
    {
        "charge": text("key of the charge"),
        "fact": text("the time entry, expense line or milestone"),
        "service_on": day("its service date"),
        "source_order": whole("order within one service date"),
        "minutes": whole("minutes credited; 0 where not time"),
        "amount": units("net credited, above zero"),
    },
)

# --- month end --------------------------------------------------------------------------------------------------------

REVENUE_LINES = Shape(
    "revenue_lines",
    "one contract line that earns revenue",
    {
        "contract": text("its contract"),
        "contract_line": text("line key"),
        "legal_entity": text("the entity that bills it"),
        "currency": text("ISO 4217"),
        "method": text("as_invoiced, milestone, hours or ratable"),
        "fee": units("amount of the line with its change orders; used by the method hours only"),
        "estimated_minutes": maybe(whole("minutes at completion; used by the method hours only")),
    },
)

EARNINGS = Shape(
    "earnings",
    "one charge as it stands at month end, whatever its bucket; credits are not taken off",
    {
        "contract": text("its contract"),
        "contract_line": maybe(text("contract line that earns it; null earns nothing")),
        "amount": units("value to the client"),
        "bucket": text("on_draft, invoiced, credited, held, over_cap ..."),
        "hold_code": maybe(text("first of its holds")),
        "earned_on": day("the later of service date and approval date"),
    },
)

ACCEPTANCES = Shape(
    "acceptances",
    "one milestone of a line with the revenue method milestone",
    {
        "contract": text("its contract"),
        "contract_line": text("line it belongs to"),
        "amount": units("its whole amount"),
        "acceptance_required": flag("whether the client must sign"),
        "completed_on": maybe(day("day the work was complete")),
        "accepted_on": maybe(day("day the client signed")),
        "status": text("planned, in_progress, completed or cancelled"),
    },
)

PROGRESS = Shape(
    "progress",
    "approved time of a line with the revenue method hours, billable or not",
    {
        "contract": text("its contract"),
        "contract_line": text("line it works off"),
        "minutes": whole("minutes approved"),
        "approved_on": day("day of approval"),
    },
)

POSTED = Shape(
    "posted",
    "one line of a posted invoice or credit note",
    {
        "contract": text("its contract"),
        "contract_line": text("line that earned it"),
        "document": text("invoice, credit, or rebill: an invoice that replaces what was credited"),
        "net": units("net of the line, above zero for both kinds"),
        "dated_on": day("invoice date or credit date"),
        "origin_period": maybe(text("month of the services on it; null: the month of the document")),
    },
)

LINE_POSITIONS = Shape(
    "line_positions",
    "one performance obligation at a month end, from the beginning of the contract; without obligations, a contract line",
    {
        "contract": text("its contract"),
        "contract_line": text("line key"),
        "obligation": text("key of the obligation; the line's own key where none is declared"),
        "legal_entity": text("the entity that bills it"),
        "currency": text("ISO 4217"),
        "method": text("one of `revenue.METHODS`"),
        "claim": text("what is earned and not billed is: receivable, contract_asset, or net of both"),
        "recognised": units("earned to date, credits deducted"),
        "billed": units("posted invoices less posted credits to date"),
        "provision": units("loss expected and not yet in the margin, zero or above"),
        "estimate_change": units("of recognised_delta: what new estimates, prices and credits did to work done before"),
        "recognised_delta": units("change since the previous position"),
        "billed_delta": units("change since the previous position"),
        "provision_delta": units("change since the previous position"),
    },
)

CONTRACT_POSITIONS = Shape(
    "contract_positions",
    "one contract in one legal entity and currency at a month end",
    {
        "contract": text("the contract"),
        "legal_entity": text("the entity that bills"),
        "currency": text("ISO 4217"),
        "recognised": units("earned to date"),
        "billed": units("posted to date, credits deducted"),
        "unbilled": units("earned and not billed: the unbilled receivable and the contract asset"),
        "asset": units("of the unbilled: the contract asset, whose billing needs further performance"),
        "deferred": units("billed and not earned: the contract liability"),
        "provision": units("provision for losses on the contract"),
        "recognised_delta": units("change since the previous position"),
        "billed_delta": units("change since the previous position"),
        "unbilled_delta": units("change since the previous position"),
        "asset_delta": units("change since the previous position"),
        "deferred_delta": units("change since the previous position"),
        "provision_delta": units("change since the previous position"),
    },
)

WORKED = Shape(
    "worked",
    "one approved time entry, billable or not",
    {
        "gid": text("the time entry"),
        "project": text("its project"),
        "resource": text("who worked"),
        "worked_on": day("service date: picks the cost rate"),
        "minutes": whole("minutes of the entry"),
        "approved_on": day("day of approval: picks the month"),
    },
)

COST_RATES = Shape(
    "cost_rates",
    "what an hour of one person costs from a day on",
    {
        "resource": text("the person"),
        "rate": units("cost per hour"),
        "currency": text("ISO 4217"),
        "valid_from": day("first day; ends where the next one starts"),
    },
)

SPENT = Shape(
    "spent",
    "one approved expense line, billable or not",
    {
        "project": text("its project"),
        "amount": units("as reimbursed, in the project's currency"),
        "approved_on": day("day of approval: picks the month"),
    },
)

COST_PROJECTS = Shape(
    "cost_projects",
    "one project, as far as cost and margin need it",
    {
        "project": text("the project"),
        "contract": text("its contract"),
        "legal_entity": text("the entity that bills"),
        "currency": text("ISO 4217"),
    },
)

LABOUR = Shape(
    "labour",
    "labour cost of one project in one month of approval",
    {
        "project": text("the project"),
        "contract": text("its contract"),
        "legal_entity": text("the entity that bills"),
        "currency": text("ISO 4217"),
        "period": text("month of approval: 2026-08"),
        "minutes": whole("minutes worked"),
        "amount": units("cost; each entry rounded once"),
    },
)

MARGINS = Shape(
    "margins",
    "one project from its beginning",
    {
        "project": text("the project"),
        "contract": text("its contract"),
        "legal_entity": text("the entity that bills"),
        "currency": text("ISO 4217"),
        "recognised": units("revenue to date"),
        "labour": units("labour cost to date"),
        "expenses": units("expense cost to date"),
        "margin": units("recognised - labour - expenses"),
    },
)

JOURNALS = Shape(
    "journals",
    "one balanced journal",
    {
        "code": text("business key: REV-US01-2026-08 or COST-US01-2026-08"),
        "legal_entity": text("whose ledger"),
        "currency": text("ISO 4217"),
        "period": text("accounting month"),
        "journal_type": text("revenue or cost_allocation"),
        "total_debit": units("sum of the debits"),
        "total_credit": units("sum of the credits, the same"),
    },
)

JOURNAL_LINES = Shape(
    "journal_lines",
    "one line of a journal; either debit or credit is above zero",
    {
        "code": text("its journal"),
        "line": whole("1, 2, 3 ... within the journal"),
        "account": text("see `journals.ACCOUNTS`"),
        "debit": units("zero or above"),
        "credit": units("zero or above"),
        "contract": maybe(text("the contract; null on the counter line of labour")),
        "project": maybe(text("the project, for labour")),
        "memo": text("for the reader of the ledger"),
    },
)

# --- figures ----------------------------------------------------------------------------------------------------------

RECEIVABLES = Shape(
    "receivables",
    "one posted invoice",
    {
        "legal_entity": text("the entity that billed"),
        "currency": text("ISO 4217"),
        "balance": units("still owed, gross"),
    },
)

CAPACITY = Shape(
    "capacity",
    "one person",
    {
        "resource": text("the person"),
        "weekly_minutes": whole("contracted minutes of a week"),
        "hired_on": day("first day"),
        "terminated_on": maybe(day("last day, counted")),
    },
)

BACKLOG_LINES = Shape(
    "backlog_lines",
    "one contract line",
    {
        "currency": text("ISO 4217"),
        "amount": units("contracted, change orders included"),
        "recognised": units("earned to date"),
        "contract_active": flag("whether the contract is active"),
    },
)


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What a billing run looks at; the shapes in this file list the columns.

    entries   `ENTRIES`   time entries, any status, with their open minutes
    expenses  `EXPENSES`  expense lines, any status, with their open amounts
    projects  `PROJECTS`  every project the facts point to, with what its contract says
    rates     `RATES`     rate lines of these contracts, and list lines
    terms     project → its `Terms`; a project that is missing has the plain ones
    fx_rates  `FX_RATES`  published rates, for projects priced in another currency
    stops     `STOPS`     reasons from outside the engine
    closed    months that are closed, 2026-01
    paid      `PAID_SHARES`  what each of several payers has of facts that were billed before and are open again
    """

    entries: pl.DataFrame
    expenses: pl.DataFrame
    projects: pl.DataFrame
    rates: pl.DataFrame
    terms: Mapping[str, Terms] = field(default_factory=dict)
    fx_rates: pl.DataFrame = field(default_factory=FX_RATES.empty)
    stops: pl.DataFrame = field(default_factory=STOPS.empty)
    closed: tuple[str, ...] = ()
    paid: pl.DataFrame = field(default_factory=PAID_SHARES.empty)

    def read(self) -> "RunFacts":
        """Return the same facts in exact shape, without terms that say nothing.

        Raises    Broken when a frame lacks a column or has one of another type.
        """
        return replace(
            self,
            entries=ENTRIES.read(self.entries),
            expenses=EXPENSES.read(self.expenses),
            projects=PROJECTS.read(self.projects),
            rates=RATES.read(self.rates),
            terms={project: terms for project, terms in self.terms.items() if replace(terms, name="defaults") != PLAIN},
            fx_rates=FX_RATES.read(self.fx_rates),
            stops=STOPS.read(self.stops),
            paid=PAID_SHARES.read(self.paid),
        )


@dataclass(frozen=True, slots=True)
class RunPlan:
    """What is to be billed and what waits; the shapes in this file list the columns.

    charges        `CHARGES`        every approved open minute and expense in one bucket; sorted by key
    invoices       `INVOICES`       drafts; sorted by code
    invoice_lines  `INVOICE_LINES`  their lines; sorted by invoice and line key
    holds          `HOLDS`          reasons; sorted by scope and code
    warnings       `WARNINGS`       what a person should know; sorted by project and code
    """

    charges: pl.DataFrame
    invoices: pl.DataFrame
    invoice_lines: pl.DataFrame
    holds: pl.DataFrame
    warnings: pl.DataFrame = field(default_factory=WARNINGS.empty)


# --- performance obligations ------------------------------------------------------------------------------------------

OBLIGATIONS = Shape(
    "obligations",
    "one promise of a contract whose revenue is measured by itself",
    {
        "contract": text("its contract"),
        "obligation": text("its key, unique in the contract"),
        "contract_line": text("contract line it is billed on"),
        "legal_entity": text("the entity that bills"),
        "currency": text("ISO 4217"),
        "method": text("one of `revenue.METHODS`"),
        "convention": text("days or months; used by the method ratable only"),
        "service_from": maybe(day("first day of service; used by ratable")),
        "completed_on": maybe(day("day the client took control; used by point_in_time and at_completion")),
    },
)

TERMS = Shape(
    "terms",
    "one change of what an obligation is worth, from a day on; the first one is its price",
    {
        "contract": text("its contract"),
        "obligation": text("its obligation"),
        "effective_on": day("first day in force"),
        "kind": text("price, separate, prospective, catch_up or variable"),
        "amount": units("added to the price, below zero for a reduction"),
        "service_to": maybe(day("last day of service from now on; null leaves it; used by ratable")),
    },
)

ESTIMATES = Shape(
    "estimates",
    "what an obligation will have taken at completion, as believed from a day on; the newest counts",
    {
        "contract": text("its contract"),
        "obligation": text("its obligation"),
        "measure": text("cost, minutes, pieces or materials"),
        "effective_on": day("first day in force"),
        "quantity": whole("units of money for cost and materials, minutes, pieces"),
    },
)

PERFORMED = Shape(
    "performed",
    "what was done for an obligation on a day",
    {
        "contract": text("its contract"),
        "obligation": text("its obligation"),
        "measure": text("cost, minutes, pieces, accepted (value), or materials delivered and not yet installed"),
        "performed_on": day("day it counts from"),
        "quantity": whole("units of money for cost, accepted and materials, minutes, pieces"),
    },
)

CREDITED_PRICES = Shape(
    "credited_prices",
    "what credit notes took off an obligation's price by a day; a rebill gives it back",
    {
        "contract": text("its contract"),
        "obligation": text("its obligation"),
        "dated_on": day("date of the document"),
        "amount": units("above zero for a credit, below for a rebill"),
    },
)

REBATES = Shape(
    "rebates",
    "a rebate on the volume of an obligation that earns as invoiced, as expected from a day on; the newest counts",
    {
        "contract": text("its contract"),
        "obligation": text("its obligation"),
        "effective_on": day("first day in force"),
        "expected": units("volume expected over the whole term"),
        "threshold": units("volume that earns no rebate"),
        "share_ppm": whole("rebate on the volume above the threshold, parts per million"),
    },
)

OBLIGATION_STATES = Shape(
    "obligation_states",
    "what an obligation has earned by a day",
    {
        "contract": text("its contract"),
        "obligation": text("its obligation"),
        "price": units("transaction price in force, credits taken off"),
        "done": whole("measure of progress so far"),
        "whole": maybe(whole("the same at completion; null where nobody has estimated it")),
        "recognised": units("earned to date"),
        "cost": units("cost to date, materials included"),
        "expected_cost": maybe(units("cost at completion; null where nobody has estimated it")),
        "provision": units("loss expected and not yet in the margin"),
    },
)

ADVANCES = Shape(
    "advances",
    "one payment before performance in a foreign currency, with the date and rate of its own",
    {
        "contract": text("its contract"),
        "advance": text("its key, unique in the contract"),
        "received_on": day("day the money came; its rate stays for ever"),
        "amount": units("in the contract's currency"),
        "functional": units("the same in the entity's currency at the rate of the day, rounded once"),
    },
)

ADVANCE_STATES = Shape(
    "advance_states",
    "one advance, as far as revenue has used it",
    {
        "contract": text("its contract"),
        "advance": text("its key"),
        "amount": units("in the contract's currency"),
        "released": units("of it earned, in the contract's currency"),
        "functional": units("the whole advance in the entity's currency"),
        "functional_released": units("revenue released, in the entity's currency at the advance's own rate"),
    },
)

ORIGINS = Shape(
    "origins",
    "what an obligation has earned to date for services of one month",
    {
        "contract": text("its contract"),
        "contract_line": text("line key"),
        "obligation": text("its key"),
        "legal_entity": text("the entity that bills"),
        "currency": text("ISO 4217"),
        "origin_period": text("month of the service"),
        "recognised": units("earned to date"),
    },
)

POSTINGS = Shape(
    "postings",
    "one line of a journal of the revenue subledger; either debit or credit is above zero",
    {
        "journal": text("REV-US01-2026-08, COST-..., or DOC-... for what invoices and credits book in the ERP"),
        "line": whole("1, 2, 3 ... within the journal"),
        "legal_entity": text("whose ledger"),
        "currency": text("ISO 4217"),
        "period": text("month it is posted in"),
        "origin_period": text("month of the service behind it"),
        "account": text("see `journals.ACCOUNTS`"),
        "debit": units("zero or above"),
        "credit": units("zero or above"),
        "contract": maybe(text("the contract")),
        "contract_line": maybe(text("line key; null for balances, which are the contract's")),
        "obligation": maybe(text("its key; null for balances, which are the contract's")),
        "project": maybe(text("the project, for labour")),
        "memo": text("for the reader of the ledger"),
    },
)

DOCUMENT_TOTALS = Shape(
    "document_totals",
    "net and tax of a contract's posted documents to date, credits taken off",
    {
        "contract": text("the contract"),
        "legal_entity": text("the entity that bills"),
        "currency": text("ISO 4217"),
        "net": units("net"),
        "tax": units("tax"),
    },
)


# --- figures of the firm ----------------------------------------------------------------------------------------------

RECEIVABLE_DAYS = Shape(
    "receivable_days",
    "what one legal entity is owed in one currency at the end of a span, and what it billed in it",
    {
        "legal_entity": text("the entity that billed"),
        "currency": text("ISO 4217"),
        "owed": units("open balance of posted invoices, gross"),
        "not_due": units("of it: due after the span"),
        "billed": units("billed in the span, gross, credits taken off"),
        "days": whole("days of the span"),
        "unbilled": units("earned and not billed at the end of the span, net"),
        "billed_year": units("billed in the twelve months up to the end, net, credits taken off"),
    },
)

BILLED_MONTHS = Shape(
    "billed_months",
    "one month of billing of one legal entity in one currency",
    {
        "legal_entity": text("the entity that billed"),
        "currency": text("ISO 4217"),
        "month": text("2026-08"),
        "days": whole("days of the month"),
        "billed": units("billed in the month, gross, credits taken off"),
        "owed": units("open balance at the end of the newest month, gross; the same in every row of a group"),
    },
)

WORK_USED = Shape(
    "work_used",
    "time of a span: what there was and what became of it",
    {
        "available": whole("fifths of a minute: weekdays employed x weekly minutes, less leave"),
        "billable": whole("approved billable minutes"),
        "client": whole("approved minutes on projects of clients, billable or not"),
    },
)

REALISED = Shape(
    "realised",
    "time billed by one legal entity in one currency: what it was worth, what was asked and what came in",
    {
        "legal_entity": text("the entity that billed"),
        "currency": text("ISO 4217"),
        "minutes": whole("minutes billed"),
        "standard": units("minutes at the rate in force"),
        "billed": units("net of them on posted invoices, credits taken off"),
        "collected": units("net of them that was paid, in proportion to the invoice"),
    },
)

BACKLOG_MOVES = Shape(
    "backlog_moves",
    "what moved the backlog of one currency in a span",
    {
        "currency": text("ISO 4217"),
        "opening": units("contracted and not earned at the beginning"),
        "bookings": units("new contracts signed"),
        "change_orders": units("change orders, up or down"),
        "cancelled": units("contracts that ended before they were done, what was left of them"),
        "recognised": units("earned"),
        "fx": units("effect of exchange rates; 0 where nothing is converted"),
    },
)

UNBILLED_WORK = Shape(
    "unbilled_work",
    "approved billable work on no document and under no hold, or what waits under a hold",
    {
        "legal_entity": text("the entity that would bill"),
        "currency": text("ISO 4217"),
        "since": day("service date of work, day the hold was opened"),
        "value": units("at the rate in force, or what the hold holds"),
    },
)

HELD_NOW = Shape(
    "held_now",
    "one open hold",
    {
        "code": text("see `holds.REASONS`"),
        "currency": maybe(text("ISO 4217")),
        "opened_on": day("day it was opened"),
        "value": units("what it holds"),
    },
)

CYCLE_DAYS = Shape(
    "cycle_days",
    "one stage of one posted invoice",
    {
        "stage": text("drafting, sending or total"),
        "days": whole("calendar days, zero or above"),
    },
)

ROLE_TIME = Shape(
    "role_time",
    "approved time of one role on one project, billable or not",
    {
        "project": text("the project"),
        "role": maybe(text("role worked in")),
        "currency": text("ISO 4217, of the project"),
        "minutes": whole("minutes"),
    },
)

ROLE_RATES = Shape(
    "role_rates",
    "what an hour of one person costs now, with the role that person has",
    {
        "resource": text("the person"),
        "role": text("role of the person"),
        "currency": text("ISO 4217"),
        "rate": units("cost per hour"),
    },
)
