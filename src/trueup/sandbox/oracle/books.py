"""What the oracle's replay keeps: charges, holds, invoices, credits, and the books they belong to."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from decimal import Decimal

from trueup.sandbox.oracle.arithmetic import ZERO, Json, amounts, cents, text

MONTH_OF = {"august": "2026-08", "september": "2026-09", "october": "2026-10"}
"""The stages in which people work, and their month."""

STAGES = (
    "opening",
    "deals_won",
    "staffed",
    "august",
    "august_posted",
    "september",
    "september_posted",
    "october",
    "october_posted",
    "planted",
)
"""The story's stages in order; the hub's work that follows a stage belongs to it."""


@dataclass
class Charge:
    """Something that may be put on an invoice now.

    key            what it comes from: time, expense, month's fee
    invoice_line   key of the invoice line it belongs to
    contract_line  key of the contract line that pays for it
    minutes        working time in it; 0 for money
    rate           currency per hour, or None when it has no hours
    """

    key: str
    invoice_line: str
    contract_line: str
    amount: Decimal
    minutes: int = 0
    rate: Decimal | None = None


@dataclass
class Hold:
    """One thing that may not be billed yet, and why."""

    code: str
    currency: str
    amount: Decimal
    minutes: int = 0


@dataclass
class InvoiceLine:
    """One line: hours at a rate, or one piece at its price."""

    contract_line: str
    rate: Decimal | None
    minutes: int = 0
    net: Decimal = ZERO

    def shown(self) -> Json:
        """Return the line as a system shows it."""
        hours = Decimal(self.minutes) / 60
        quantity, rate = (Decimal(1), self.net) if self.rate is None else (hours, self.rate)
        return {"quantity": text(quantity), "rate": text(rate), "net": text(self.net)}


def standing(posted: bool, gross: Decimal, paid: Decimal, credited: Decimal) -> str:
    """Say how far an invoice has come; a credit shows until the rest is paid."""
    if not posted:
        return "submitted"
    if gross == paid + credited and (paid or not credited):
        return "paid"
    if credited:
        return "credited"
    return "part_paid" if paid else "posted"


@dataclass
class Invoice:
    """One invoice and what happened to it."""

    code: str
    project: str
    customer: str
    dated: str
    due: str
    treatment: str
    tax_rate: Decimal
    lines: dict[str, InvoiceLine]
    posted: bool = False
    paid: Decimal = ZERO
    credited: Decimal = ZERO

    @property
    def net(self) -> Decimal:
        """Sum of the lines."""
        return sum((line.net for line in self.lines.values()), ZERO)

    @property
    def tax(self) -> Decimal:
        """R9: rounded once per invoice."""
        return cents(self.net * self.tax_rate)

    @property
    def gross(self) -> Decimal:
        """Net and tax."""
        return self.net + self.tax

    @property
    def balance(self) -> Decimal:
        """What the customer still owes on it."""
        return self.gross - self.paid - self.credited

    @property
    def status(self) -> str:
        """How far it has come."""
        return standing(self.posted, self.gross, self.paid, self.credited)


@dataclass
class Credit:
    """One posted credit memo. `applied` lowers the invoice; the rest stays open on the customer's account."""

    invoice: str
    project: str
    month: str
    contract_line: str
    minutes: int
    net: Decimal
    tax: Decimal
    applied: Decimal

    @property
    def gross(self) -> Decimal:
        """Net and tax."""
        return self.net + self.tax


@dataclass
class Books:
    """Everything the replay knows at a stage."""

    stage: str
    month: str = ""
    closed: list[str] = field(default_factory=list)
    won: list[str] = field(default_factory=list)
    valid: set[str] = field(default_factory=set)
    deal_holds: list[Hold] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)
    buckets: Counter[tuple[str, str]] = field(default_factory=Counter)
    invoices: dict[str, Invoice] = field(default_factory=dict)
    billed: dict[str, tuple[Decimal, int]] = field(default_factory=dict)
    covered: dict[str, tuple[int, int]] = field(default_factory=dict)
    line_billed: defaultdict[str, Decimal] = field(default_factory=amounts)
    line_tax_held: defaultdict[str, Decimal] = field(default_factory=amounts)
    credits: list[Credit] = field(default_factory=list)
    payments: list[tuple[str, Decimal]] = field(default_factory=list)
    recognised: dict[str, dict[str, Decimal]] = field(default_factory=dict)
    billed_to: dict[str, dict[str, Decimal]] = field(default_factory=dict)

    def reached(self, stage: str) -> bool:
        """Say whether the story has come to a stage."""
        return STAGES.index(self.stage) >= STAGES.index(stage)

    def knows(self, month: str | None) -> bool:
        """Say whether something of this month has happened by now; what has no month never happens."""
        return month is not None and month <= self.month
