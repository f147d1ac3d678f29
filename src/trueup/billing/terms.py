"""How one contract line is billed beyond what the contract says: rounding of time, caps, tiers, orders, expenses, payers.

`Terms()` is the plain case: exact minutes at the rate in force, split at the cap, one invoice a month to one payer.
Amounts are major units in the currency of the project; the engines turn them into what they compute with.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from itertools import product
from typing import Literal

Tier = Literal["negotiated", "list"]
WHO = ("resource", "role", "any")
WHERE = ("task", "project", "contract", "any")


@dataclass(frozen=True, slots=True)
class RateOrder:
    """Which rate line wins where several are in force on the service date; each tuple is best first.

    tiers  negotiated lines of the contract before the list card, or the other way round
    by     whether the most specific who or the most specific where is asked first inside a tier
    who    a line for this person, for the role, for anybody
    where  a line for the task, the project, the contract, for any
    """

    tiers: tuple[Tier, ...] = ("negotiated", "list")
    by: tuple[str, str] = ("who", "where")
    who: tuple[str, ...] = WHO
    where: tuple[str, ...] = WHERE

    def ranks(self) -> dict[tuple[str, str, str], int]:
        """Return (tier, who, where) → place in the order, 0 is asked first.

        >>> RateOrder().ranks()[("negotiated", "role", "contract")] < RateOrder().ranks()[("negotiated", "any", "task")]
        True
        """
        if self.by == ("who", "where"):
            order: Iterator[tuple[str, str, str]] = product(self.tiers, self.who, self.where)
        else:
            order = ((tier, who, where) for tier, where, who in product(self.tiers, self.where, self.who))
        return {place: rank for rank, place in enumerate(order)}


@dataclass(frozen=True, slots=True)
class Increment:
    """To what time is rounded before it is priced.

    minutes    1, 6, 15, 30 ...; 1 is exact
    direction  up, nearest (half up) or down
    scope      entry: each entry; day_per_task: a person's day on a task; line: all time of a role. Inside a scope the
               rounding is cumulative, so that the entries add up to the rounded whole
    """

    minutes: int = 1
    direction: Literal["up", "nearest", "down"] = "up"
    scope: Literal["entry", "day_per_task", "line"] = "entry"


@dataclass(frozen=True, slots=True)
class TimeType:
    """What kind of hour it was: multipliers of the bill rate and of the cost rate, at most three decimals."""

    bill: Decimal = Decimal(1)
    cost: Decimal = Decimal(1)


@dataclass(frozen=True, slots=True)
class Overtime:
    """When an hour counts more. The day's threshold is asked before the week's; no minute counts twice.

    after_daily_minutes   above these minutes of a person's day on the project; None for never
    after_weekly_minutes  above these minutes of a person's ISO week on it, the day's overtime left out
    multiplier            of the rate, at most three decimals
    stack                 with a time type that has a multiplier of its own: add, multiply or max (the higher one)
    accepted              whether the client pays it; the cost is multiplied all the same
    """

    after_daily_minutes: int | None = None
    after_weekly_minutes: int | None = None
    multiplier: Decimal = Decimal("1.5")
    stack: Literal["add", "multiply", "max"] = "max"
    accepted: bool = True


@dataclass(frozen=True, slots=True)
class TaskCap:
    """All time that may be billed on one task in total.

    task    the task
    amount  money, net of tax
    used    on documents already, credits deducted; filled in when the facts are read
    """

    task: str
    amount: Decimal
    used: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Step:
    """One tier of a price by volume.

    up_to_minutes  last minute of the tier, None for no end
    rate           per hour
    """

    up_to_minutes: int | None
    rate: Decimal


@dataclass(frozen=True, slots=True)
class Tiers:
    """A price by volume, in place of the rate lines.

    kind   graduated: each minute at its tier's rate; volume: all minutes at the rate of the tier the total reaches
    per    total: over the whole contract; month: over each service month
    steps  ascending, the last one without end
    """

    kind: Literal["graduated", "volume"]
    steps: tuple[Step, ...]
    per: Literal["total", "month"] = "total"


@dataclass(frozen=True, slots=True)
class Minimum:
    """What a month costs at least; a true-up line tops it up, in proportion to the days in stub months.

    amount     of a full month, before discount and tax
    starts_on  first day it holds, None for always
    ends_on    last day it holds, None for no end
    """

    amount: Decimal
    starts_on: date | None = None
    ends_on: date | None = None


@dataclass(frozen=True, slots=True)
class PurchaseOrder:
    """An order of the client that invoices draw on.

    number      as the client writes it
    amount      what is left of it; when the facts are read, what stands on documents is taken off
    valid_from  first service date it pays for, None for any
    valid_to    last service date it pays for, None for no end
    priority    the lowest is drawn on first
    """

    number: str
    amount: Decimal
    valid_from: date | None = None
    valid_to: date | None = None
    priority: int = 1

    def pays_for(self, day: date) -> bool:
        """Say whether a service date lies within its validity."""
        return (self.valid_from is None or self.valid_from <= day) and (self.valid_to is None or day <= self.valid_to)


@dataclass(frozen=True, slots=True)
class ExpenseRule:
    """How expenses of one category are charged on; None leaves what the fact or the contract says.

    billable           overrules the fact
    treatment          principal: recharged as our own supply; agent: paid in the client's name, no tax of ours
    markup_share       0.05 is five per cent
    markup_cap         most the markup of one line may be, in the project's currency
    receipt_threshold  above it a receipt is needed
    policy_limit       above it the line breaks the policy
    recoverable_share  input tax inside the amount that we get back: 0.19 of the net; taken off first
    daily_rate         a daily allowance: each line is a day, and the client is billed this for it whatever was paid, in
                       the project's currency and without markup; None bills what was paid
    """

    billable: bool | None = None
    treatment: Literal["principal", "agent"] = "principal"
    markup_share: Decimal | None = None
    markup_cap: Decimal | None = None
    receipt_threshold: Decimal | None = None
    policy_limit: Decimal | None = None
    recoverable_share: Decimal = Decimal(0)
    daily_rate: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Exchange:
    """In which currency the work is priced, and on which day's rate it becomes the currency of the invoice.

    currency  of the rate lines
    policy    service_date, period_average (published average of the service month, else the mean of its days),
              invoice_date, or fixed
    rate      the fixed one: units of the invoice's currency for one of `currency`
    """

    currency: str
    policy: Literal["service_date", "period_average", "invoice_date", "fixed"] = "service_date"
    rate: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Payer:
    """Who pays a share of every charge.

    bill_to     the customer
    weight      of the share; shares are weight over the sum of weights
    country     ISO 3166 alpha-2, None when unknown
    has_tax_id  whether a VAT id is known
    region ...  what tax looks at besides, see `frames.PROJECTS`
    """

    bill_to: str
    weight: Decimal
    country: str | None = None
    has_tax_id: bool = False
    region: str | None = None
    vat_id: str | None = None
    vat_id_valid: bool | None = None
    vat_id_checked_on: date | None = None
    nexus: bool | None = None
    state_rate_ppm: int | None = None


@dataclass(frozen=True, slots=True)
class RollOver:
    """How long minutes of a retainer that were not used may still be.

    months       after their own month
    cap_minutes  rolled over at one time at most
    use_first    oldest, or the month's own
    """

    months: int
    cap_minutes: int
    use_first: Literal["oldest", "own"] = "oldest"


@dataclass(frozen=True, slots=True)
class Terms:
    """Everything about one contract line's billing that can be agreed apart from price and cap.

    name               the file it comes from, for traces
    rate_order         see `RateOrder`
    increment          see `Increment`
    minimum_minutes    billed at least for a person's day on the project, 0 for none
    hours_2dp_first    hours are rounded to two decimals before they are priced
    time_types         name → `TimeType`; a name that is missing counts once
    overtime           see `Overtime`
    daily_cap_minutes  billed at most for a person's day on the project
    cap_policy         split the entry that crosses the cap, stop_before it, or warn_only
    warn_at            shares of the cap that are told, in per cent
    task_caps          see `TaskCap`
    discount_share     off the rate of every hour
    tiers              see `Tiers`
    header_discount    off the whole document, shared over its lines
    minimum            see `Minimum`
    po_required        whether nothing may be billed without a purchase order
    purchase_orders    see `PurchaseOrder`
    expenses           category → `ExpenseRule`
    exchange           see `Exchange`
    split_by           invoices are apart by these besides entity, client, currency and tax: project or contract,
                       period (service month), po
    lines_by           lines of time are apart by these: role, person, week, task, project; the rate always
    payers             see `Payer`; empty for the customer alone
    roll_over          see `RollOver`; None lets unused minutes of a retainer expire with their month
    retention_share    of a milestone, kept back until the client has signed
    late_work          redate: work of a closed month goes on the next invoice; hold: it waits
    """

    name: str = "defaults"
    rate_order: RateOrder = RateOrder()
    increment: Increment = Increment()
    minimum_minutes: int = 0
    hours_2dp_first: bool = False
    time_types: Mapping[str, TimeType] = field(default_factory=dict)
    overtime: Overtime | None = None
    daily_cap_minutes: int | None = None
    cap_policy: Literal["split", "stop_before", "warn_only"] = "split"
    warn_at: tuple[int, ...] = (75, 90, 100)
    task_caps: tuple[TaskCap, ...] = ()
    discount_share: Decimal = Decimal(0)
    tiers: Tiers | None = None
    header_discount: Decimal = Decimal(0)
    minimum: Minimum | None = None
    po_required: bool = False
    purchase_orders: tuple[PurchaseOrder, ...] = ()
    expenses: Mapping[str, ExpenseRule] = field(default_factory=dict)
    exchange: Exchange | None = None
    split_by: tuple[str, ...] = ("project",)
    lines_by: tuple[str, ...] = ("role",)
    payers: tuple[Payer, ...] = ()
    roll_over: RollOver | None = None
    retention_share: Decimal = Decimal(0)
    late_work: Literal["redate", "hold"] = "redate"

    @property
    def measures(self) -> bool:
        """Say whether time is measured or priced other than by its exact minutes at the rate."""
        plain = Terms()
        return (
            self.increment.minutes != 1
            or self.minimum_minutes > 0
            or self.hours_2dp_first
            or bool(self.time_types)
            or self.overtime is not None
            or self.daily_cap_minutes is not None
            or self.discount_share != plain.discount_share
            or self.tiers is not None
            or self.exchange is not None
        )

    def orders_by_priority(self) -> tuple[PurchaseOrder, ...]:
        """Return the purchase orders in the order in which they are drawn on."""
        return tuple(sorted(self.purchase_orders, key=lambda order: (order.priority, order.number)))


PLAIN = Terms()
"""The terms of a line nobody wrote terms for."""


def terms_for(book: Mapping[tuple[str, str], Terms], line: str, contract: str, package: str) -> Terms:
    """Return the terms of a contract line: its own, else its contract's, else its package's, else the defaults.

    book      (line, key), (contract, code), (package, code) or (defaults, "") → terms
    line      contract line key
    contract  contract code
    package   price book code

    >>> terms_for({("contract", "D07"): Terms("d07")}, "D07-L1", "D07", "ADV-TM").name
    'd07'
    """
    for key in (("line", line), ("contract", contract), ("package", package), ("defaults", "")):
        if key in book:
            return book[key]
    return PLAIN
