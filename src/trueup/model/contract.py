"""Contracts, their lines, and the rate lines negotiated with them."""

from datetime import date
from typing import ClassVar, Literal

from trueup.model.canonical import Amount, Canonical, Currency, Gid, Name, Number, Quantity, Row, Share
from trueup.model.lifecycle import Lifecycle

BillingMethod = Literal["time_and_materials", "fixed_fee", "retainer", "pass_through"]


class ContractLine(Row):
    """One thing sold, billed in one way by one legal entity.

    amount        value sold, in `currency`
    cap           not-to-exceed amount net of tax; None means no cap
    markup_share  added to expenses passed through, 0.05 is five per cent
    """

    key: str
    package: str
    billing_method: BillingMethod
    amount: Amount
    legal_entity: str
    currency: Currency
    bill_to: Gid | None = None
    cap: Amount | None = None
    estimated_hours: Quantity | None = None
    monthly_fee: Amount | None = None
    included_hours: Quantity | None = None
    overage_rate: Amount | None = None
    markup_share: Share | None = None


class Contract(Canonical):
    """What was sold and on which terms; a change order is a contract that amends another."""

    kind = "contract"
    lifecycle: ClassVar = Lifecycle(
        {
            "draft": ("signed", "lost"),
            "signed": ("active", "terminated"),
            "active": ("completed", "terminated"),
            "completed": ("closed",),
            "closed": (),
            "terminated": (),
            "lost": ("draft",),
        }
    )
    references: ClassVar = {"customer": "customer"}
    code: str
    name: Name
    customer: Gid
    contract_type: Literal["new", "change_order"] = "new"
    amends: str | None = None
    value: Amount
    currency: Currency
    starts_on: date | None = None
    ends_on: date | None = None
    signed_on: date | None = None
    payment_terms_days: Number | None = None
    po_number: str | None = None
    lines: list[ContractLine] = []
    status: str = "draft"


class RateLine(Canonical):
    """A negotiated price per hour for a role, in force for a time."""

    kind = "rate_line"
    lifecycle: ClassVar = Lifecycle({"active": ("retired",), "retired": ("active",)})
    references: ClassVar = {"contract": "contract"}
    contract: Gid
    role: str
    rate: Amount
    currency: Currency
    valid_from: date
    valid_to: date | None = None
    status: str = "active"
