"""The simulated org's objects: their fields, and what Salesforce says to a value that does not fit."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any, Literal

from trueup.connectors.sdk.simulate import Row

FieldType = Literal[
    "id", "string", "email", "boolean", "date", "datetime", "double", "currency", "percent", "picklist", "reference"
]
NUMBERS = frozenset({"double", "currency", "percent"})
_ID = re.compile(r"^[A-Za-z0-9]{15}([A-Za-z0-9]{3})?$")
_EMAIL = re.compile(r"^[^@\s]+@[^@\s]+\.[^@\s]+$")
_COUNTRY = re.compile(r"^[A-Z]{2}$")
_SUFFIX = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"


@dataclass(frozen=True, slots=True)
class Column:
    """One field of an object.

    length    longest text
    digits    digits of a number before and behind the point
    system    set by Salesforce, never by anybody else
    refers    object a reference points to; `cascade` deletes this record with the other one
    external  an External ID: records can be addressed by it
    unique    no two records carry the same value
    """

    type: FieldType = "string"
    length: int = 255
    digits: tuple[int, int] = (16, 2)
    required: bool = False
    system: bool = False
    values: tuple[str, ...] = ()
    refers: str = ""
    cascade: bool = False
    external: bool = False
    unique: bool = False
    default: Any = None


@dataclass(frozen=True, slots=True)
class Table:
    """One object.

    prefix    first three characters of its records' ids
    columns   field name -> field, system fields included
    children  name of a child relationship -> (object, its reference field)
    """

    name: str
    prefix: str
    columns: Mapping[str, Column]
    children: Mapping[str, tuple[str, str]]


class Invalid(ValueError):
    """Salesforce's no to a record: its code, its words, the fields it is about."""

    def __init__(self, code: str, message: str, fields: tuple[str, ...] = (), status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.fields = fields
        self.status = status

    def item(self) -> Row:
        """Return the entry of an error array."""
        return {"message": self.message, "errorCode": self.code, "fields": list(self.fields)}

    def part(self) -> Row:
        """Return the entry of one record's errors in a collection's answer."""
        return {"statusCode": self.code, "message": self.message, "fields": list(self.fields)}


CURRENCIES = ("USD", "EUR", "GBP", "CHF", "SEK", "NOK", "DKK", "CAD", "AUD", "JPY", "PLN", "KWD")
_CURRENCY = Column("picklist", values=CURRENCIES, required=True)
_AMOUNT = Column("currency", digits=(16, 2))
_HOURS = Column("double", digits=(10, 2))
_SYSTEM: dict[str, Column] = {
    "Id": Column("id", system=True),
    "IsDeleted": Column("boolean", system=True, default=False),
    "CreatedDate": Column("datetime", system=True),
    "LastModifiedDate": Column("datetime", system=True),
    "SystemModstamp": Column("datetime", system=True),
}
STAGES = (
    "Prospecting",
    "Qualification",
    "Needs Analysis",
    "Value Proposition",
    "Id. Decision Makers",
    "Perception Analysis",
    "Proposal",
    "Proposal/Price Quote",
    "Negotiation",
    "Negotiation/Review",
    "Closed Won",
    "Closed Lost",
)

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        Table(
            "Account",
            "001",
            _SYSTEM
            | {
                "Name": Column(required=True),
                "Legal_Name__c": Column(),
                "BillingCountryCode": Column(length=2),
                "BillingStateCode": Column(length=80),
                "Tax_ID__c": Column(length=40),
                "CurrencyIsoCode": _CURRENCY,
                "Payment_Terms_Days__c": Column("double", digits=(3, 0)),
                "Billing_Email__c": Column("email", length=80),
                "Industry": Column(),
                "Trueup_Status__c": Column(length=40),
            },
            {"Opportunities": ("Opportunity", "AccountId")},
        ),
        Table(
            "Opportunity",
            "006",
            _SYSTEM
            | {
                "Deal_Code__c": Column(length=40, external=True),
                "Name": Column(length=120, required=True),
                "AccountId": Column("reference", refers="Account", cascade=True),
                "Type": Column("picklist", values=("New Business", "Change Order")),
                "Amends_Deal__c": Column(length=40),
                "StageName": Column("picklist", values=STAGES, required=True),
                "CloseDate": Column("date", required=True),
                "Amount": _AMOUNT,
                "CurrencyIsoCode": _CURRENCY,
                "Start_Date__c": Column("date"),
                "End_Date__c": Column("date"),
                "PO_Number__c": Column(length=80),
                "IsWon": Column("boolean", system=True, default=False),
                "IsClosed": Column("boolean", system=True, default=False),
                "Trueup_Key__c": Column(length=40, external=True, unique=True),
                "Trueup_Status__c": Column(length=40),
                "Trueup_Project_Codes__c": Column(length=255),
                "Trueup_Billed__c": _AMOUNT,
                "Trueup_Message__c": Column(length=1000),
            },
            {
                "OpportunityLineItems": ("OpportunityLineItem", "OpportunityId"),
                "Rate_Card_Lines__r": ("Rate_Card_Line__c", "Opportunity__c"),
                "Milestones__r": ("Milestone__c", "Opportunity__c"),
            },
        ),
        Table(
            "OpportunityLineItem",
            "00k",
            _SYSTEM
            | {
                "OpportunityId": Column("reference", refers="Opportunity", cascade=True, required=True),
                "Line_Key__c": Column(length=40),
                "ProductCode": Column(),
                "Billing_Method__c": Column("picklist", values=("T&M", "Fixed Fee", "Retainer", "Pass-through")),
                "TotalPrice": _AMOUNT,
                "Legal_Entity__c": Column(length=20),
                "Line_Currency__c": Column("picklist", values=CURRENCIES),
                "Bill_To__c": Column("reference", refers="Account"),
                "Cap__c": _AMOUNT,
                "Estimated_Hours__c": _HOURS,
                "Monthly_Fee__c": _AMOUNT,
                "Included_Hours__c": _HOURS,
                "Overage_Rate__c": _AMOUNT,
                "Markup_Percent__c": Column("percent", digits=(3, 2)),
            },
            {},
        ),
        Table(
            "Rate_Card_Line__c",
            "a01",
            _SYSTEM
            | {
                "Opportunity__c": Column("reference", refers="Opportunity", cascade=True, required=True),
                "Role__c": Column(length=80, required=True),
                "Rate__c": Column("currency", digits=(16, 2), required=True),
                "CurrencyIsoCode": _CURRENCY,
                "Valid_From__c": Column("date", required=True),
                "Valid_To__c": Column("date"),
            },
            {},
        ),
        Table(
            "Milestone__c",
            "a02",
            _SYSTEM
            | {
                "Milestone_Key__c": Column(length=40, external=True, unique=True, required=True),
                "Opportunity__c": Column("reference", refers="Opportunity", cascade=True, required=True),
                "Line_Key__c": Column(length=40),
                "Name": Column(length=80, required=True),
                "Sequence__c": Column("double", digits=(4, 0)),
                "Amount__c": _AMOUNT,
                "CurrencyIsoCode": _CURRENCY,
                "Planned_Date__c": Column("date"),
                "Acceptance_Required__c": Column("boolean", default=False),
                "Signed_Off_On__c": Column("date"),
                "Signed_Off_By__c": Column(length=120),
            },
            {},
        ),
    )
}


def record_id(object: str, number: int) -> str:
    """Return an 18-character id of an object, the same one for the same number."""
    return long_id(f"{TABLES[object].prefix}Ny{number:010d}")


def long_id(id: str) -> str:
    """Return the 18-character form of an id: three more characters say which letters are capitals.

    Source    Salesforce help, "Record IDs": 15 characters are case-sensitive, 18 are not

    >>> long_id("001A0000006Vm9r")
    '001A0000006Vm9rIAC'
    """
    if not _ID.match(id):
        raise Invalid("MALFORMED_ID", f"malformed id {id}", ("Id",))
    if len(id) == 18:
        return id
    suffix = ""
    for part in (id[0:5], id[5:10], id[10:15]):
        suffix += _SUFFIX[sum(1 << place for place, letter in enumerate(part) if letter.isascii() and letter.isupper())]
    return id + suffix


def fitted(table: Table, name: str, value: Any, more_values: tuple[str, ...] = ()) -> Any:
    """Return a value as it is stored; numbers as exact text.

    more_values  picklist values the org's administrator has added
    Raises       Invalid with the code Salesforce gives.
    """
    column = table.columns[name]
    if value == "" or value is None:
        if column.required or column.type == "boolean":
            code = "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST" if column.type == "picklist" else "REQUIRED_FIELD_MISSING"
            raise Invalid(code, f"Required fields are missing: [{name}]", (name,))
        return None
    if column.type == "boolean":
        return value if isinstance(value, bool) else _unreadable("boolean", value)
    if column.type in NUMBERS:
        return _number(name, column, value)
    if not isinstance(value, str):
        return _unreadable(column.type, value)
    if column.type == "date":
        return _day(value)
    if column.type == "reference":
        if not _ID.match(value) or value[:3] != TABLES[column.refers].prefix:
            raise Invalid("MALFORMED_ID", f"{name}: id value of incorrect type: {value}", (name,))
        return long_id(value)
    if column.type == "picklist":
        if value not in column.values and value not in more_values:
            message = f"{name}: bad value for restricted picklist field: {value}"
            raise Invalid("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", message, (name,))
        return value
    return _text(name, column, value.strip())


def _text(name: str, column: Column, value: str) -> str:
    if len(value) > column.length:
        raise Invalid(
            "STRING_TOO_LONG", f"{name}: data value too large: {value[:40]} (max length={column.length})", (name,)
        )
    if column.type == "email" and not _EMAIL.match(value):
        raise Invalid("INVALID_EMAIL_ADDRESS", f"{name}: invalid email address: {value}", (name,))
    if name == "BillingCountryCode" and not _COUNTRY.match(value):
        raise Invalid("FIELD_INTEGRITY_EXCEPTION", f"There's a problem with this country code: {value}", (name,))
    return value


def _number(name: str, column: Column, value: Any) -> str:
    """Store a number with the field's places behind the point; Salesforce takes numbers written as text, too."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return str(_unreadable(column.type, value))
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return str(_unreadable(column.type, value))
    before, behind = column.digits
    if not number.is_finite() or abs(number) >= Decimal(10) ** before:
        raise Invalid("NUMBER_OUTSIDE_VALID_RANGE", f"{name}: value outside of valid range: {value}", (name,))
    return str(number.quantize(Decimal(1).scaleb(-behind), ROUND_HALF_UP))


def _day(value: str) -> str:
    try:
        return date.fromisoformat(value[:10]).isoformat()
    except ValueError:
        return str(_unreadable("date", value))


def _unreadable(type: str, value: Any) -> Any:
    raise Invalid("JSON_PARSER_ERROR", f"Cannot deserialize instance of {type} from the value {value}")
