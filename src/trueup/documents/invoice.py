"""An EN 16931 invoice as plain values: what every syntax says, once, in the standard's terms.

Amounts are `Decimal` in major units of the invoice's currency, as written: nothing here is rounded or worked out.
Rates are percent: 19 is 19 %. Field comments name the business terms (BT) of the standard.
Source    EN 16931-1:2017, semantic model.
"""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

EN16931 = "urn:cen.eu:en16931:2017"
"""BT-24 of the core invoice."""

INVOICE, CREDIT = "380", "381"
"""UNTDID 1001: commercial invoice, credit note."""

CREDITS = frozenset({"81", "83", "261", "262", "296", "308", "381", "396", "420", "458", "532"})
"""Types that take an amount back: they are written with amounts above zero, in UBL as a CreditNote."""

CATEGORIES: dict[str, str] = {
    "S": "standard rate",
    "Z": "zero rated",
    "E": "exempt",
    "AE": "reverse charge",
    "K": "intra-community supply",
    "G": "export outside the EU",
    "O": "not subject to VAT",
    "L": "IGIC",
    "M": "IPSI",
    "B": "split payment",
}
"""UNCL 5305, as far as the standard uses it."""

UNTAXED = frozenset({"Z", "E", "AE", "K", "G", "O"})
"""Categories whose tax is always nothing."""


@dataclass(frozen=True, slots=True)
class Address:
    """A postal address; only the country is mandatory (BT-40, BT-55).

    country  ISO 3166 alpha-2
    """

    country: str
    street: str | None = None
    more: str | None = None
    city: str | None = None
    post_code: str | None = None
    region: str | None = None


@dataclass(frozen=True, slots=True)
class Contact:
    """Whom to ask (BG-6, BG-9)."""

    name: str | None = None
    phone: str | None = None
    email: str | None = None


@dataclass(frozen=True, slots=True)
class Identifier:
    """An identifier and the list it comes from (ISO 6523 ICD, or EAS for an electronic address)."""

    value: str
    scheme: str | None = None


@dataclass(frozen=True, slots=True)
class Party:
    """Seller (BG-4) or buyer (BG-7).

    name          BT-27, BT-44
    trading_name  BT-28, BT-45
    identifier    BT-29, BT-46
    registration  BT-30, BT-47
    vat_id        BT-31, BT-48
    tax_number    BT-32, the seller's only
    legal_form    BT-33, the seller's only
    endpoint      BT-34, BT-49
    """

    name: str
    address: Address
    trading_name: str | None = None
    identifier: Identifier | None = None
    registration: Identifier | None = None
    vat_id: str | None = None
    tax_number: str | None = None
    legal_form: str | None = None
    endpoint: Identifier | None = None
    contact: Contact | None = None


@dataclass(frozen=True, slots=True)
class Payment:
    """How to pay (BG-16).

    means         BT-81, UNTDID 4461: 30 credit transfer, 58 SEPA credit transfer
    reference     BT-83
    account       BT-84, an IBAN where there is one
    account_name  BT-85
    bank          BT-86, BIC
    """

    means: str
    reference: str | None = None
    account: str | None = None
    account_name: str | None = None
    bank: str | None = None


@dataclass(frozen=True, slots=True)
class Adjustment:
    """An allowance (BG-20, BG-27) or charge (BG-21, BG-28).

    charge    True adds to the price, False takes off
    amount    BT-92, BT-99, BT-136, BT-141; never below zero
    base      BT-93, BT-100, BT-137, BT-142
    percent   BT-94, BT-101, BT-138, BT-143
    category  BT-95, BT-102; None on a line, whose category it shares
    rate      BT-96, BT-103
    """

    charge: bool
    amount: Decimal
    reason: str | None = None
    reason_code: str | None = None
    base: Decimal | None = None
    percent: Decimal | None = None
    category: str | None = None
    rate: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """One line (BG-25).

    key            BT-126
    name           BT-153
    description    BT-154
    note           BT-127
    quantity       BT-129
    unit           BT-130, UN/ECE recommendation 20: HUR hour, MIN minute, C62 one
    price          BT-146, for `price_quantity` units
    price_quantity BT-149; None is one
    net            BT-131
    category       BT-151
    rate           BT-152; None where the category has none (O)
    starts_on      BT-134
    ends_on        BT-135
    """

    key: str
    name: str
    quantity: Decimal
    unit: str
    price: Decimal
    net: Decimal
    category: str
    rate: Decimal | None
    price_quantity: Decimal | None = None
    description: str | None = None
    note: str | None = None
    starts_on: date | None = None
    ends_on: date | None = None
    adjustments: tuple[Adjustment, ...] = ()


@dataclass(frozen=True, slots=True)
class Tax:
    """The tax of one category at one rate (BG-23).

    base         BT-116
    amount       BT-117
    reason       BT-120
    reason_code  BT-121
    """

    category: str
    rate: Decimal | None
    base: Decimal
    amount: Decimal
    reason: str | None = None
    reason_code: str | None = None


@dataclass(frozen=True, slots=True)
class Totals:
    """What it comes to (BG-22); None where the document does not say.

    lines           BT-106
    allowances      BT-107
    charges         BT-108
    net             BT-109
    tax             BT-110
    tax_accounting  BT-111, in the seller's accounting currency
    gross           BT-112
    prepaid         BT-113
    rounding        BT-114
    due             BT-115
    """

    lines: Decimal
    net: Decimal
    gross: Decimal
    due: Decimal
    allowances: Decimal | None = None
    charges: Decimal | None = None
    tax: Decimal | None = None
    tax_accounting: Decimal | None = None
    prepaid: Decimal | None = None
    rounding: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Preceding:
    """The invoice a credit corrects (BG-3)."""

    number: str
    issued_on: date | None = None


@dataclass(frozen=True, slots=True)
class EInvoice:
    """An invoice or credit note.

    number           BT-1
    issued_on        BT-2
    type_code        BT-3, UNTDID 1001
    currency         BT-5
    tax_currency     BT-6
    due_on           BT-9
    buyer_reference  BT-10
    project          BT-11
    contract         BT-12
    order            BT-13
    terms            BT-20
    notes            BT-22
    process          BT-23
    profile          BT-24
    delivered_on     BT-72
    starts_on        BT-73
    ends_on          BT-74
    delivered_to     BT-80, country
    """

    number: str
    issued_on: date
    currency: str
    seller: Party
    buyer: Party
    lines: tuple[Line, ...]
    taxes: tuple[Tax, ...]
    totals: Totals
    type_code: str = INVOICE
    profile: str = EN16931
    process: str | None = None
    tax_currency: str | None = None
    due_on: date | None = None
    buyer_reference: str | None = None
    project: str | None = None
    contract: str | None = None
    order: str | None = None
    terms: str | None = None
    notes: tuple[str, ...] = ()
    preceding: tuple[Preceding, ...] = ()
    delivered_on: date | None = None
    delivered_to: str | None = None
    starts_on: date | None = None
    ends_on: date | None = None
    payment: Payment | None = None
    adjustments: tuple[Adjustment, ...] = ()

    @property
    def credit(self) -> bool:
        """Say whether it takes an amount back."""
        return self.type_code in CREDITS
