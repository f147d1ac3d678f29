"""Customers."""

from typing import ClassVar

from trueup.model.canonical import Canonical, Country, Currency, Flag, Name, Number
from trueup.model.lifecycle import Lifecycle


class Customer(Canonical):
    """Who buys and who is billed. The CRM owns who they are; the ERP owns number and credit."""

    kind = "customer"
    lifecycle: ClassVar = Lifecycle(
        {
            "prospect": ("active", "inactive"),
            "active": ("on_hold", "inactive", "merged"),
            "on_hold": ("active", "inactive"),
            "inactive": ("active", "merged"),
            "merged": (),
        }
    )
    name: Name
    legal_name: Name | None = None
    customer_number: str | None = None
    country: Country
    region: str | None = None
    tax_id: str | None = None
    currency: Currency
    payment_terms_days: Number = 30
    billing_email: str | None = None
    industry: str | None = None
    credit_hold: Flag = False
    status: str = "active"
