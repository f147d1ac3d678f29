"""A firm's workspace and the environment, read once into frozen settings; says where each value came from.

A workspace is a folder kept in git and safe to show on a projector: `trueup.yaml`, `entities/`, `mappings/`,
`terms/`, `rates/`, `schedules/`, `tax.yaml`, `prepayments.yaml`, `intercompany.yaml`, `ownership.yaml`, `connectors/`, `templates/`. Secrets are
references: `secret://env/NAME` or `secret://file/path#dotted.key`.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, time
from decimal import Decimal
from difflib import get_close_matches
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

PREFIX = "TRUEUP_"


class SettingsError(Exception):
    """The workspace or the environment is wrong; the text says where and what to do."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _as_written(value: object) -> object:
    """Take a number as its digits stand in the file: 0.35 is 35/100, not the float nearest to it."""
    return str(value) if isinstance(value, float) else value


class LetterheadSettings(_Part):
    """What an entity's documents say of it; see `documents.issue.Letterhead` for what each key means.

    name, country  as registered; the entity's own when not given
    """

    name: str | None = None
    country: str | None = Field(default=None, pattern=r"^[A-Z]{2}$")
    street: str | None = None
    more: str | None = None
    city: str | None = None
    post_code: str | None = None
    region: str | None = None
    vat_id: str | None = None
    tax_number: str | None = None
    registration: str | None = None
    registration_scheme: str | None = None
    legal_form: str | None = None
    contact: str | None = None
    phone: str | None = None
    email: str | None = None
    endpoint: str | None = None
    endpoint_scheme: str | None = None
    iban: str | None = None
    bic: str | None = None
    bank: str | None = None
    cash_step: Annotated[Decimal | None, BeforeValidator(_as_written)] = Field(default=None, gt=0)
    note: str | None = None

    @field_validator("iban")
    @classmethod
    def _iban_checks_out(cls, given: str | None) -> str | None:
        if given is None:
            return None
        iban = given.replace(" ", "")
        whole = 15 <= len(iban) <= 34 and iban.isascii() and iban.isalnum() and iban[:2].isupper()
        if not whole or int("".join(str(int(sign, 36)) for sign in iban[4:] + iban[:4])) % 97 != 1:
            raise ValueError("this is no IBAN: its check digits do not fit")
        return given


class EntitySettings(_Part):
    """One legal entity, `entities/CODE.yaml`.

    sells_to            countries it is registered to sell into
    numbering           who numbers its invoices and credits: the ERP, or the hub when the ERP confirms the posting
    number_prefixes     document type -> what stands before the ordinal, with {entity} and {year}
    number_digits       the ordinal is written with at least this many
    fiscal_year_starts  month in which its fiscal years begin; a year is named by the calendar year it begins in
    close_blocks        items of the month-end checklist whose findings must be accepted before the month is closed
    bounds              limits outside of which an invoice is held, by name; null switches one off
                        (see `billing.brakes.Bounds`)
    adjustment_limit    value from which a second person has to agree to an adjustment, in the currency of the facts
    letterhead          what its invoices say of it: address, VAT id, bank account; invoices need one to be made
    """

    code: str = Field(pattern=r"^[A-Z0-9]{2,12}$")
    name: str
    country: str = Field(pattern=r"^[A-Z]{2}$")
    currency: str = Field(pattern=r"^[A-Z]{3}$")
    sells_to: list[str]
    numbering: Literal["erp", "hub"] = "erp"
    number_prefixes: dict[Literal["invoice", "credit"], str] = {}
    number_digits: int = Field(default=6, ge=1, le=12)
    fiscal_year_starts: int = Field(default=1, ge=1, le=12)
    close_blocks: list[
        Literal["unapproved", "holds", "unbilled", "drafts", "tie_out", "accruals", "revenue", "journals", "numbers"]
    ] = []

    @field_validator("number_prefixes")
    @classmethod
    def _prefixes_tell_years_apart(cls, given: dict[str, str]) -> dict[str, str]:
        for kind, pattern in given.items():
            rest = pattern.replace("{entity}", "").replace("{year}", "")
            if "{year}" not in pattern or "{" in rest or "}" in rest:
                raise ValueError(
                    f"the prefix of {kind} needs {{year}}, may have {{entity}}, and nothing else in braces"
                )
        if len(set(given.values())) < len(given):
            raise ValueError("two document types have the same prefix: their numbers would meet")
        return given

    bounds: dict[str, int | bool | None] = {}
    adjustment_limit: Decimal = Decimal(0)
    letterhead: LetterheadSettings | None = None


class PackageSettings(_Part):
    """One entry of the price book."""

    name: str
    practice: str | None = None
    department: str | None = None
    billing_methods: list[str]
    revenue_method: str
    phases: list[str] = []


class WindowSettings(_Part):
    """Hours in which nothing is posted into a system, `"22:00"` to `"06:00"` of a time zone.

    kinds     invoice, credit, journal_reference; all of them when not given
    entities  legal entities; all when not given
    """

    closed_from: time
    closed_to: time
    timezone: str = "UTC"
    kinds: list[Literal["invoice", "credit", "journal_reference"]] = []
    entities: list[str] = []

    @field_validator("timezone")
    @classmethod
    def _is_known(cls, given: str) -> str:
        try:
            ZoneInfo(given)
        except (ZoneInfoNotFoundError, ValueError) as unknown:
            raise ValueError(f"there is no time zone {given}; write one like Europe/Berlin") from unknown
        return given


class WriteBudgetSettings(_Part):
    """When a record is no longer written: each write of so many in a row came back changed and led to the next.

    turns  writes in a row, nobody having said anything new in between
    hours  in which they are counted
    """

    turns: int = Field(default=6, gt=0)
    hours: float = Field(default=24, gt=0)


class SystemSettings(_Part):
    """One connected system. Credentials are secret references; nothing secret stands in the file.

    posting_windows          hours in which no document is posted into it
    closed_period            a document of a closed month waits (hold), or takes the first open day (redate)
    account                  what shares one budget at the vendor; absent is the system's own name
    per_second, concurrency  our share of the account's limits; absent takes the connector's own
    late_commit_seconds  how long after silence a write can still arrive; absent takes what the connector says
    read_back_minutes    when what was written more than once is read again; absent takes what the connector says
    write_budget         when a record that our own writes keep changing is no longer written; absent takes what the
                         connector says
    """

    connector: str
    account: str = Field(default="", pattern=r"^[A-Za-z0-9_.-]{0,80}$")
    base_url: str = ""
    token_url: str = ""
    credentials: dict[str, str] = {}
    webhook_secret: str = ""
    options: dict[str, str] = {}
    posting_windows: list[WindowSettings] = []
    closed_period: Literal["hold", "redate"] = "hold"
    poll_seconds: float = Field(default=60, gt=0)
    per_second: float | None = Field(default=None, gt=0)
    concurrency: int | None = Field(default=None, gt=0)
    late_commit_seconds: float | None = Field(default=None, ge=0)
    read_back_minutes: float | None = Field(default=None, gt=0)
    write_budget: WriteBudgetSettings | None = None


class SubscriberSettings(_Part):
    """Somebody who is told of business events, as signed CloudEvents.

    url              where each event is posted; https, unless the network is our own
    secret           reference to the signing secret: `whsec_` and at least 24 bytes in base64
    types            names of events (invoice.posted); none asks for all
    in_flight        calls that wait for an answer at the same time, in each worker
    timeout_seconds  longest wait for an answer
    ordered          tell events about one object one after the other
    private_network  the address may be one of our own network
    cost             amounts made of what people cost are told too
    """

    url: str
    secret: str
    types: list[str] = []
    in_flight: int = Field(default=64, ge=1, le=2000)
    timeout_seconds: float = Field(default=15, gt=0, le=300)
    ordered: bool = False
    private_network: bool = False
    cost: bool = False


class PriceSettings(_Part):
    """What a whole period of service costs from a day on."""

    valid_from: date
    price: Decimal = Field(ge=0)


class ProgressSettings(_Part):
    """How far the work had come on a day: `0.35` or `1/3`."""

    on: date
    share: Annotated[Fraction, BeforeValidator(_as_written)] = Field(ge=0, le=1)


class ScheduleSettings(_Part):
    """How one contract line is billed by the calendar or by progress, `schedules/*.yaml`.

    kind          instalments, percent_complete or service_period
    starts_on     month of the first instalment, or first day of service
    ends_on       last day of service, counted
    amount        to be billed in all; absent takes the amount of the contract line with its change orders
    anchor_day    day of the month on which a period of service begins; 31 is the last day of every month
    lead_days     service billed in advance: so many days before the period begins
    prices        service: price of a whole period, from the first day of service on
    progress      percent complete: statements, each with its day
    """

    line: str
    kind: Literal["instalments", "percent_complete", "service_period"]
    starts_on: date
    ends_on: date | None = None
    amount: Decimal | None = Field(default=None, ge=0)
    count: int = Field(default=1, ge=1)
    every_months: int = Field(default=1, ge=1)
    anchor_day: int = Field(default=1, ge=1, le=31)
    due: Literal["advance", "arrears"] = "arrears"
    lead_days: int = Field(default=0, ge=0)
    proration: Literal["actual_days", "thirty_360", "whole_month", "none"] = "actual_days"
    prices: list[PriceSettings] = []
    progress: list[ProgressSettings] = []


class TransferPriceSettings(_Part):
    """One transfer price: what a lender charges a borrower from a day on.

    value  0.1 for 10 % (cost_plus, share), or an amount per hour in the lender's currency (fixed)
    """

    lender: str
    borrower: str
    rule: Literal["cost_plus", "share", "fixed"]
    value: Decimal = Field(ge=0, max_digits=15, decimal_places=6)
    valid_from: date


class Intercompany(_Part):
    """`intercompany.yaml`; a firm without it lends nobody."""

    transfer_prices: list[TransferPriceSettings] = []


class IncrementSettings(_Part):
    """To what time is rounded before it is priced."""

    minutes: int = Field(default=1, ge=1)
    direction: Literal["up", "nearest", "down"] = "up"
    scope: Literal["entry", "day_per_task", "line"] = "entry"


class TimeTypeSettings(_Part):
    """Multipliers of a kind of hour."""

    bill: Decimal = Field(default=Decimal(1), ge=0, decimal_places=3)
    cost: Decimal = Field(default=Decimal(1), ge=0, decimal_places=3)


class OvertimeSettings(_Part):
    """When an hour counts more."""

    after_daily_minutes: int | None = Field(default=None, ge=0)
    after_weekly_minutes: int | None = Field(default=None, ge=0)
    multiplier: Decimal = Field(default=Decimal("1.5"), ge=0, decimal_places=3)
    stack: Literal["add", "multiply", "max"] = "max"
    accepted: bool = True


class TaskCapSettings(_Part):
    """All time that may be billed on one task in total; `task` is its gid."""

    task: str
    amount: Decimal = Field(ge=0)


class StepSettings(_Part):
    """One tier of a price by volume."""

    up_to_hours: Decimal | None = Field(default=None, gt=0)
    rate: Decimal = Field(ge=0)


class TiersSettings(_Part):
    """A price by volume, in place of the rate lines; ascending, the last step without end."""

    kind: Literal["graduated", "volume"]
    per: Literal["total", "month"] = "total"
    steps: list[StepSettings] = Field(min_length=1)

    @model_validator(mode="after")
    def _ascending(self) -> "TiersSettings":
        ends = [step.up_to_hours for step in self.steps]
        finite = [end for end in ends[:-1] if end is not None]
        if ends[-1] is not None or len(finite) != len(ends) - 1 or finite != sorted(set(finite)):
            raise ValueError("steps must ascend, and the last one has no up_to_hours")
        return self


class OrderSettings(_Part):
    """A purchase order of the client; `amount` is the whole of it, what is billed on it is taken off by itself."""

    number: str
    amount: Decimal = Field(ge=0)
    valid_from: date | None = None
    valid_to: date | None = None
    priority: int = 1


class ExpenseSettings(_Part):
    """How expenses of one category are charged on."""

    billable: bool | None = None
    treatment: Literal["principal", "agent"] = "principal"
    markup_share: Decimal | None = Field(default=None, ge=0, decimal_places=6)
    markup_cap: Decimal | None = Field(default=None, ge=0)
    receipt_threshold: Decimal | None = Field(default=None, ge=0)
    policy_limit: Decimal | None = Field(default=None, ge=0)
    recoverable_share: Decimal = Field(default=Decimal(0), ge=0, decimal_places=6)
    daily_rate: Decimal | None = Field(default=None, ge=0)


class ExchangeSettings(_Part):
    """In which currency the work is priced, and on which day's rate it becomes the currency of the invoice."""

    currency: str = Field(pattern=r"^[A-Z]{3}$")
    policy: Literal["service_date", "period_average", "invoice_date", "fixed"] = "service_date"
    rate: Decimal | None = Field(default=None, gt=0, decimal_places=8)

    @model_validator(mode="after")
    def _fixed_has_a_rate(self) -> "ExchangeSettings":
        if (self.policy == "fixed") != (self.rate is not None):
            raise ValueError("a rate belongs to the policy fixed, and only to it")
        return self


class PayerSettings(_Part):
    """Who pays a share; `customer` is its gid."""

    customer: str
    share: Decimal = Field(gt=0)


class RateOrderSettings(_Part):
    """Which rate line wins; each list is best first."""

    tiers: tuple[Literal["negotiated", "list"], Literal["negotiated", "list"]] = ("negotiated", "list")
    by: tuple[Literal["who", "where"], Literal["who", "where"]] = ("who", "where")


class AppliesTo(_Part):
    """For what terms hold: one of line, contract or package; none of them for everything else."""

    line: str | None = None
    contract: str | None = None
    package: str | None = None

    @model_validator(mode="after")
    def _one(self) -> "AppliesTo":
        if sum(value is not None for value in (self.line, self.contract, self.package)) > 1:
            raise ValueError("name one of line, contract and package")
        return self


class RollOverSettings(_Part):
    """How long hours of a retainer that were not used may still be; `use_first` says which go first."""

    months: int = Field(ge=1, le=36)
    cap_hours: Decimal = Field(ge=0, decimal_places=2)
    use_first: Literal["oldest", "own"] = "oldest"


class TermsSettings(_Part):
    """How a contract line is billed beyond what the contract says, `terms/NAME.yaml`. Shares: 0.05 is five per cent."""

    applies_to: AppliesTo = AppliesTo()
    rate_order: RateOrderSettings = RateOrderSettings()
    increment: IncrementSettings = IncrementSettings()
    minimum_minutes_per_day: int = Field(default=0, ge=0)
    hours_2dp_first: bool = False
    time_types: dict[str, TimeTypeSettings] = {}
    overtime: OvertimeSettings | None = None
    daily_cap_minutes: int | None = Field(default=None, ge=0)
    cap_policy: Literal["split", "stop_before", "warn_only"] = "split"
    warn_at: list[int] = [75, 90, 100]
    task_caps: list[TaskCapSettings] = []
    discount_share: Decimal = Field(default=Decimal(0), ge=0, le=1, decimal_places=6)
    tiers: TiersSettings | None = None
    header_discount_share: Decimal = Field(default=Decimal(0), ge=0, le=1, decimal_places=6)
    monthly_minimum: Decimal | None = Field(default=None, ge=0)
    po_required: bool = False
    purchase_orders: list[OrderSettings] = []
    expenses: dict[str, ExpenseSettings] = {}
    exchange: ExchangeSettings | None = None
    split_by: list[Literal["project", "contract", "period", "po"]] = ["project"]
    lines_by: list[Literal["project", "role", "person", "week", "task"]] = Field(default=["role"], min_length=1)
    payers: list[PayerSettings] = []
    roll_over: RollOverSettings | None = None
    retention_share: Decimal = Field(default=Decimal(0), ge=0, lt=1, decimal_places=6)
    late_work: Literal["redate", "hold"] = "redate"


class ListRate(_Part):
    """A line of the list card: a price per hour for a role, a person, or anybody."""

    role: str | None = None
    resource: str | None = None
    currency: str = Field(pattern=r"^[A-Z]{3}$")
    rate: Decimal = Field(ge=0)
    valid_from: date
    valid_to: date | None = None


class ExchangeRate(_Part):
    """A published exchange rate: `rate` units of `to` for one of `base`."""

    base: str = Field(pattern=r"^[A-Z]{3}$")
    to: str = Field(pattern=r"^[A-Z]{3}$")
    purpose: Literal["day", "average"] = "day"
    day: date
    rate: Decimal = Field(gt=0, decimal_places=8)
    source: str


class RatesSettings(_Part):
    """List rates and exchange rates, `rates/NAME.yaml`."""

    lines: list[ListRate] = []
    exchange: list[ExchangeRate] = []


class TermSettings(_Part):
    """A modification of a performance obligation, or a new estimate of its variable consideration.

    kind    separate (its price, from that day), prospective, catch_up or variable
    amount  added to the price, in the contract's currency
    """

    effective_on: date
    kind: Literal["separate", "prospective", "catch_up", "variable"]
    amount: Decimal = Decimal(0)
    service_to: date | None = None


class QuantitySettings(_Part):
    """What was done by a day, or is expected in all as believed from a day on: money for cost, accepted and materials."""

    effective_on: date
    measure: Literal["cost", "hours", "pieces", "materials", "accepted"]
    quantity: Decimal = Field(ge=0)


class RebateSettings(_Part):
    """A volume rebate: `share` of what exceeds the threshold, as expected from a day on."""

    effective_on: date
    expected: Decimal = Field(ge=0)
    threshold: Decimal = Field(ge=0)
    share: Decimal = Field(ge=0, le=1, decimal_places=6)


class AdvanceSettings(_Part):
    """A payment before performance in foreign currency; `functional` is its value at the rate of the day it came."""

    key: str
    received_on: date
    amount: Decimal = Field(gt=0)
    functional: Decimal = Field(gt=0)
    functional_currency: str = Field(pattern=r"^[A-Z]{3}$")


class ObligationSettings(_Part):
    """One performance obligation of a contract.

    line              key of the contract line it is billed on
    price             its own, or its share of the contract's price by `standalone_price`
    convention        days or months (with half months at the ends), for the method ratable
    completed_on      day the client took control, for point_in_time and at_completion
    measured_from     time: approved time and expenses of the contract; listed: only what stands under `performed`
    """

    key: str
    line: str
    method: Literal[
        "as_invoiced", "milestone", "hours", "ratable", "cost_to_cost", "units", "point_in_time", "at_completion"
    ]
    price: Decimal | None = None
    standalone_price: Decimal | None = Field(default=None, gt=0)
    convention: Literal["days", "months"] = "days"
    service_from: date | None = None
    service_to: date | None = None
    completed_on: date | None = None
    measured_from: Literal["time", "listed"] = "time"
    modifications: list[TermSettings] = []
    estimates: list[QuantitySettings] = []
    performed: list[QuantitySettings] = []
    rebates: list[RebateSettings] = []


class ContractObligations(_Part):
    """The performance obligations of one contract, `obligations/CONTRACT.yaml`.

    contract  its code
    price     transaction price, shared over the obligations by their standalone prices
    starts_on day the price is in force from
    """

    contract: str
    starts_on: date
    price: Decimal | None = None
    obligations: list[ObligationSettings] = Field(min_length=1)
    advances: list[AdvanceSettings] = []

    @model_validator(mode="after")
    def _whole(self) -> Self:
        keys = [one.key for one in self.obligations]
        if len(set(keys)) < len(keys):
            raise ValueError("two obligations have the same key")
        separate = [one.key for one in self.obligations if any(term.kind == "separate" for term in one.modifications)]
        for one in self.obligations:
            if one.method == "as_invoiced" or one.key in separate:
                continue
            if one.price is None and (self.price is None or one.standalone_price is None):
                raise ValueError(f"{one.key} needs a price, or a standalone_price and a price of the contract")
        for method in ("as_invoiced", "milestone"):
            lines = [one.line for one in self.obligations if one.method == method]
            if len(set(lines)) < len(lines):
                raise ValueError(f"only one obligation of a line can be measured by {method}")
        return self


class PrepaymentSettings(_Part):
    """A payment on account of a contract; `gross` with tax, `tax` the VAT that was due when it came."""

    contract: str
    legal_entity: str
    key: str
    received_on: date
    currency: str = Field(pattern=r"^[A-Z]{3}$")
    gross: Decimal = Field(gt=0)
    tax: Decimal = Field(default=Decimal(0), ge=0)

    @model_validator(mode="after")
    def _tax_is_within(self) -> Self:
        if self.tax > self.gross:
            raise ValueError("the tax is within the gross and cannot be more")
        return self


class Prepayments(_Part):
    """`prepayments.yaml`: payments on account, drawn down by the invoices of their contracts."""

    prepayments: list[PrepaymentSettings] = []


class VatIdSettings(_Part):
    """What the register answered about a customer's VAT id, and when it was asked."""

    vat_id: str
    valid: bool
    checked_on: date


class StateSettings(_Part):
    """A state of the United States: whether we have an office or people there, and the rate we charge once registered."""

    state: str = Field(pattern=r"^[A-Z]{2}$")
    presence: bool = False
    rate: Decimal | None = Field(default=None, ge=0, le=1, decimal_places=6)


class EntityTaxSettings(_Part):
    """Where a legal entity is registered: countries for VAT beside its own, states for sales tax."""

    registered_in: list[str] = []
    states: list[StateSettings] = []


class ServiceSettings(_Part):
    """What a line, a contract or a package sells, as tax sees it; what nobody names is taxed by the general rule.

    category  land, passenger_transport, event, restaurant, vehicle_hire: taxed where it happens, which `used_in` says
    code      consulting, custom_software, data_processing, saas or training: for sales tax in the United States
    """

    applies_to: AppliesTo
    category: Literal["general", "land", "passenger_transport", "event", "restaurant", "vehicle_hire"] | None = None
    used_in: str | None = Field(default=None, pattern=r"^[A-Z]{2}$")
    code: Literal["consulting", "custom_software", "data_processing", "saas", "training"] | None = None

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        if not (self.applies_to.line or self.applies_to.contract or self.applies_to.package):
            raise ValueError("applies_to needs a line, a contract or a package")
        return self


class WithholdingSettings(_Part):
    """What customers of a legal entity pay to the tax office instead of to it; `customer` is a customer number."""

    entity: str
    customer: str | None = None
    rate: Decimal = Field(gt=0, le=1, decimal_places=6)
    base: Literal["net", "gross"] = "net"
    valid_from: date


class TaxSettings(_Part):
    """`tax.yaml`; a firm without it is taxed by the general rule, and customers' VAT ids are not checked.

    check_vat_ids  form and check digits of customers' VAT ids
    vat_ids        what the register answered
    entities       legal entity -> where it is registered
    """

    check_vat_ids: bool = True
    vat_ids: list[VatIdSettings] = []
    entities: dict[str, EntityTaxSettings] = {}
    services: list[ServiceSettings] = []
    withholding: list[WithholdingSettings] = []


class LabourSettings(_Part):
    """What labour checks do to billing; without `blocking` they are told and stop nothing.

    blocking  checks that hold the work of the day they stand on until a person has waived them
    """

    blocking: list[
        Literal[
            "OVER_24H", "FUTURE", "NOT_EMPLOYED", "LOCKED_PERIOD", "HOLIDAY", "DAILY_MAX", "WEEKLY_REST",
            "OVERTIME_WEEK", "WEEKLY_AVERAGE",
        ]
    ] = []  # fmt: skip


class File(_Part):
    """`trueup.yaml`.

    duplicates    time entries that say the same as an earlier one wait for a decision: those of another system, those
                  of any system (everywhere), or none (ignore)
    late_revenue  what becomes of revenue for services of a closed month: next_open_period or refuse
    entries_per_part  time entries a worker bills at a time; larger runs go in parts to several workers
                  (200,000 when not given)
    tie_out_seconds   between two comparisons of what changed; 0 compares only when it is asked for
    """

    company: str
    database: str = "embedded"
    listen: str = "127.0.0.1:8787"
    packages: dict[str, PackageSettings]
    systems: dict[str, SystemSettings]
    subscribers: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")], SubscriberSettings] = {}
    owners: dict[str, str] = {}
    late_revenue: Literal["next_open_period", "refuse"] = "next_open_period"
    entries_per_part: int | None = Field(default=None, ge=1)
    duplicates: Literal["across_systems", "everywhere", "ignore"] = "across_systems"
    labour: LabourSettings = LabourSettings()
    tie_out_seconds: float = Field(default=900.0, ge=0)


@dataclass(frozen=True)
class Settings:
    """Everything that can be set.

    workspace  folder of the firm's files
    home       folder of the hub's own data (embedded database, tokens of the demo)
    origin     setting -> where its value came from
    invoice_template  text of `templates/invoice.typ`, the firm's own layout of invoices; None takes ours
    """

    workspace: Path
    home: Path
    company: str
    database: str
    host: str
    port: int
    entities: Mapping[str, EntitySettings]
    packages: Mapping[str, PackageSettings]
    systems: Mapping[str, SystemSettings]
    owners: Mapping[str, str]
    ownership: str | None
    remedies: str | None
    overlays: Mapping[str, str]
    connector_folders: tuple[Path, ...]
    schedules: Mapping[str, ScheduleSettings] = field(default_factory=dict)
    transfer_prices: tuple[TransferPriceSettings, ...] = ()
    terms: Mapping[str, TermsSettings] = field(default_factory=dict)
    rates: Mapping[str, RatesSettings] = field(default_factory=dict)
    obligations: Mapping[str, ContractObligations] = field(default_factory=dict)
    late_revenue: Literal["next_open_period", "refuse"] = "next_open_period"
    entries_per_part: int | None = None
    origin: Mapping[str, str] = field(default_factory=dict)
    invoice_template: str | None = None
    tax: TaxSettings | None = None
    prepayments: tuple[PrepaymentSettings, ...] = ()
    duplicates: Literal["across_systems", "everywhere", "ignore"] = "across_systems"
    labour_blocking: tuple[str, ...] = ()
    subscribers: Mapping[str, SubscriberSettings] = field(default_factory=dict)
    tie_out_seconds: float = 900.0

    def secret(self, reference: str) -> str:
        """Return the value behind a secret reference; a text that is none is refused.

        Raises    SettingsError naming the reference, never the value.
        """
        if not reference:
            return ""
        kind, _, rest = reference.removeprefix("secret://").partition("/")
        if not reference.startswith("secret://") or kind not in ("env", "file"):
            raise SettingsError("a credential must be a reference: secret://env/NAME or secret://file/path#key")
        if kind == "env":
            if rest not in os.environ:
                raise SettingsError(f"{reference}: the environment variable {rest} is not set")
            return os.environ[rest]
        name, _, dotted = rest.partition("#")
        path = (self.workspace / name).resolve()
        try:
            text = path.read_text("utf-8")
            value: Any = json.loads(text) if dotted else text.strip()
            for part in dotted.split(".") if dotted else ():
                value = value[part]
        except (OSError, ValueError, KeyError, TypeError) as wrong:
            raise SettingsError(f"{reference}: {type(wrong).__name__}") from wrong
        return str(value)


def load(workspace: Path, environment: Mapping[str, str] | None = None) -> Settings:
    """Read a workspace and `TRUEUP_*`.

    Raises    SettingsError with file, key, what is wrong, and the nearest known key.
    """
    environment = os.environ if environment is None else environment
    workspace = Path(environment.get(f"{PREFIX}WORKSPACE", workspace)).resolve()
    path = workspace / "trueup.yaml"
    if not path.is_file():
        raise SettingsError(
            f"there is no trueup.yaml in {workspace.name or workspace}; make one with `trueup new NAME`"
        )
    file = _read(path, File)
    entities = {}
    for one in sorted((workspace / "entities").glob("*.yaml")):
        entity = _read(one, EntitySettings)
        entities[entity.code] = entity
    if not entities:
        raise SettingsError("entities/: at least one legal entity is needed")
    obligations: dict[str, ContractObligations] = {}
    for one in sorted((workspace / "obligations").glob("*.yaml")):
        declared = _read(one, ContractObligations)
        if declared.contract in obligations:
            raise SettingsError(
                f"obligations/{one.name}: {declared.contract} has its obligations in another file already"
            )
        obligations[declared.contract] = declared
    origin = {"company": "trueup.yaml", "entities": "entities/", "systems": "trueup.yaml", "packages": "trueup.yaml"}
    database, listen = file.database, file.listen
    origin["database"] = origin["listen"] = "trueup.yaml"
    for name in ("DATABASE", "LISTEN"):
        if f"{PREFIX}{name}" in environment:
            origin[name.lower()] = f"environment {PREFIX}{name}"
    database = environment.get(f"{PREFIX}DATABASE", database)
    listen = environment.get(f"{PREFIX}LISTEN", listen)
    host, _, port = listen.rpartition(":")
    if not port.isdigit():
        raise SettingsError(f"listen: {listen!r} is not HOST:PORT")
    prices = workspace / "intercompany.yaml"
    transfer_prices = _read(prices, Intercompany).transfer_prices if prices.is_file() else []
    for price in transfer_prices:
        for code in (price.lender, price.borrower):
            if code not in entities:
                raise SettingsError(f"intercompany.yaml: there is no legal entity {code} in entities/")
    tax = _tax(workspace, entities)
    ownership = workspace / "ownership.yaml"
    layout = workspace / "templates" / "invoice.typ"
    home = Path(environment.get(f"{PREFIX}HOME", workspace / ".trueup")).resolve()
    return Settings(
        workspace=workspace,
        home=home,
        company=file.company,
        database=database,
        host=host or "127.0.0.1",
        port=int(port),
        entities=entities,
        packages=file.packages,
        systems=file.systems,
        owners=file.owners,
        ownership=_text(ownership),
        remedies=_text(workspace / "remedies.yaml"),
        overlays={
            f"{one.parent.name}/{one.name}": one.read_text("utf-8")
            for one in sorted((workspace / "mappings").glob("*/*.yaml"))
        },
        transfer_prices=tuple(transfer_prices),
        connector_folders=(workspace / "connectors",) if (workspace / "connectors").is_dir() else (),
        schedules=_schedules(workspace),
        terms=_terms(workspace),
        rates={one.stem: _read(one, RatesSettings) for one in sorted((workspace / "rates").glob("*.yaml"))},
        obligations=obligations,
        late_revenue=file.late_revenue,
        entries_per_part=file.entries_per_part,
        origin=origin,
        invoice_template=_text(layout),
        tax=tax,
        prepayments=_prepayments(workspace, entities),
        duplicates=file.duplicates,
        labour_blocking=tuple(file.labour.blocking),
        subscribers=file.subscribers,
        tie_out_seconds=file.tie_out_seconds,
    )


def _prepayments(workspace: Path, entities: Mapping[str, EntitySettings]) -> tuple[PrepaymentSettings, ...]:
    path = workspace / "prepayments.yaml"
    given: list[PrepaymentSettings] = _read(path, Prepayments).prepayments if path.is_file() else []
    for one in given:
        if one.legal_entity not in entities:
            raise SettingsError(f"prepayments.yaml: there is no legal entity {one.legal_entity} in entities/")
    keys = [one.key for one in given]
    for key in keys:
        if keys.count(key) > 1:
            raise SettingsError(f"prepayments.yaml: two payments are called {key}")
    return tuple(given)


def _tax(workspace: Path, entities: Mapping[str, EntitySettings]) -> TaxSettings | None:
    path = workspace / "tax.yaml"
    if not path.is_file():
        return None
    tax: TaxSettings = _read(path, TaxSettings)
    for code in (*tax.entities, *(one.entity for one in tax.withholding)):
        if code not in entities:
            raise SettingsError(f"tax.yaml: there is no legal entity {code} in entities/")
    said = [one.applies_to for one in tax.services]
    if len(set(said)) < len(said):
        raise SettingsError("tax.yaml: services: two entries say what the same line, contract or package sells")
    return tax


def _text(file: Path) -> str | None:
    return file.read_text("utf-8") if file.is_file() else None


def _schedules(workspace: Path) -> dict[str, ScheduleSettings]:
    found: dict[str, ScheduleSettings] = {}
    for path in sorted((workspace / "schedules").glob("*.yaml")):
        schedule = _read(path, ScheduleSettings)
        if schedule.line in found:
            raise SettingsError(f"schedules/{path.name}: line: {schedule.line} has a schedule in another file already")
        found[schedule.line] = schedule
    return found


def _terms(workspace: Path) -> dict[str, TermsSettings]:
    found: dict[str, TermsSettings] = {}
    said: dict[AppliesTo, str] = {}
    for one in sorted((workspace / "terms").glob("*.yaml")):
        terms = _read(one, TermsSettings)
        if terms.applies_to in said:
            raise SettingsError(f"terms/{one.name}: applies_to: terms/{said[terms.applies_to]} holds for the same")
        said[terms.applies_to] = one.name
        found[one.stem] = terms
    return found


def _read(path: Path, shape: type[Any]) -> Any:
    where = f"{path.parent.name}/{path.name}" if path.name != "trueup.yaml" else path.name
    try:
        return shape.model_validate(YAML(typ="safe", pure=True).load(path.read_text("utf-8")) or {})
    except YAMLError as wrong:
        raise SettingsError(f"{where}: {wrong}") from wrong
    except ValidationError as wrong:
        first = wrong.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        near = get_close_matches(str(first["loc"][-1]), list(shape.model_fields), 1) if first["loc"] else []
        hint = f"; did you mean {near[0]}?" if near and first["type"] == "extra_forbidden" else ""
        raise SettingsError(f"{where}: {key}: {first['msg']}, got {first['input']!r}{hint}") from wrong


def schema() -> dict[str, Any]:
    """Return the JSON Schema of trueup.yaml, for editors."""
    return File.model_json_schema()
