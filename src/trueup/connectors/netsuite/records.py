"""Which record types the simulated account has, which fields they carry, and how a value is checked and shown.

Field names are those of SuiteTalk; fields that begin with `cust` are the custom fields the README asks to create.
Rows hold plain values: a reference as the other record's id, a number as text, a sublist as a list of rows.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any, Final, Literal

import msgspec

from trueup.connectors.netsuite.answers import refuse
from trueup.connectors.sdk.simulate import Row

Kind = Literal["text", "number", "integer", "day", "instant", "flag", "ref", "choice", "lines"]
MOST_TEXT: Final = 4000


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a record or of a sublist's line.

    to       ref: the record type it points to
    needed   a record cannot be saved without it
    ours     set by the ERP alone; a body that names it is refused
    fixed    cannot change once the record exists
    choices  choice: id -> name
    lines    lines: the fields of one line
    """

    kind: Kind = "text"
    to: str = ""
    needed: bool = False
    ours: bool = False
    fixed: bool = False
    choices: Mapping[str, str] = field(default_factory=dict)
    lines: Mapping[str, "Field"] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RecordType:
    """One record type.

    shows      the field other records show as `refName`
    family     entities share one space of external ids, transactions another; lists are set up by administrators
    code       transactions: their `type` in SuiteQL
    announced  a User Event script calls the hub when a record changes
    """

    name: str
    shows: str
    family: Literal["entity", "transaction", "list", "plan"]
    fields: Mapping[str, Field]
    code: str = ""
    announced: bool = False


def _ref(to: str, *, needed: bool = False, ours: bool = False, fixed: bool = False) -> Field:
    return Field("ref", to=to, needed=needed, ours=ours, fixed=fixed)


def _choice(*, needed: bool = False, ours: bool = False, **choices: str) -> Field:
    return Field("choice", needed=needed, ours=ours, choices={key.lstrip("_"): name for key, name in choices.items()})


TEXT, DAY, NUMBER, FLAG = Field(), Field("day"), Field("number"), Field("flag")
OUR_NUMBER = Field("number", ours=True)

APPROVAL: Final = {"1": "Pending Approval", "2": "Approved", "3": "Rejected"}
STATUSES: Final = {
    "Pending Approval": "D",
    "Open": "A",
    "Paid In Full": "B",
    "Rejected": "E",
    "Voided": "V",
    "Fully Applied": "B",
    "Not Deposited": "C",
    "Approved for Posting": "B",
    "Pending Billing": "F",
}
"""Name of a transaction's status -> its letter in SuiteQL. The letters are not public for every type."""

_STATUS = Field("choice", ours=True, choices={name: name for name in STATUSES})

_ITEM_LINE = {
    "line": Field("integer"),
    "item": _ref("serviceSaleItem", needed=True),
    "description": TEXT,
    "quantity": NUMBER,
    "rate": NUMBER,
    "amount": NUMBER,
    "taxCode": _ref("salesTaxItem"),
    "department": _ref("department"),
    "custcol_trueup_line": TEXT,
}
_APPLY_LINE = {
    "line": Field("integer"),
    "doc": _ref("invoice", needed=True),
    "amount": Field("number", needed=True),
    "apply": FLAG,
    "refNum": Field(ours=True),
}
_JOURNAL_LINE = {
    "line": Field("integer"),
    "account": _ref("account", needed=True),
    "debit": NUMBER,
    "credit": NUMBER,
    "memo": TEXT,
    "department": _ref("department"),
    "custcol_trueup_contract": TEXT,
}
_TRANSACTION = {
    "subsidiary": _ref("subsidiary", fixed=True),
    "currency": _ref("currency", fixed=True),
    "tranDate": DAY,
    "tranId": Field(ours=True),
    "memo": TEXT,
    "status": _STATUS,
    "custbody_trueup_code": TEXT,
    "custbody_trueup_contract": TEXT,
    "custbody_trueup_period": TEXT,
}
_SALE = {
    **_TRANSACTION,
    "entity": _ref("customer", needed=True),
    "job": _ref("job"),
    "terms": _ref("term"),
    "otherRefNum": TEXT,
    "item": Field("lines", needed=True, lines=_ITEM_LINE),
    "subtotal": OUR_NUMBER,
    "taxTotal": NUMBER,
    "total": OUR_NUMBER,
}
_POSTED = {"postingPeriod": _ref("accountingPeriod", ours=True)}


def _types(*types: RecordType) -> dict[str, RecordType]:
    return {one.name: one for one in types}


TYPES: Final = _types(
    RecordType(
        "customer",
        "companyName",
        "entity",
        {
            "entityId": TEXT,
            "companyName": Field(needed=True),
            "legalName": TEXT,
            "email": TEXT,
            "vatRegNumber": TEXT,
            "subsidiary": _ref("subsidiary", needed=True),
            "currency": _ref("currency"),
            "terms": _ref("term"),
            "isPerson": FLAG,
            "isInactive": FLAG,
            "creditHoldOverride": _choice(AUTO="Auto", ON="On", OFF="Off"),
        },
        announced=True,
    ),
    RecordType(
        "job",
        "companyName",
        "entity",
        {
            "entityId": TEXT,
            "companyName": Field(needed=True),
            "parent": _ref("customer", needed=True),
            "subsidiary": _ref("subsidiary", needed=True, fixed=True),
            "currency": _ref("currency"),
            "startDate": DAY,
            "projectedEndDate": DAY,
            "projectManager": _ref("employee"),
            "estimatedRevenue": NUMBER,
            "isInactive": FLAG,
            "custentity_trueup_contract": TEXT,
        },
    ),
    RecordType(
        "employee",
        "entityId",
        "entity",
        {
            "entityId": TEXT,
            "firstName": TEXT,
            "lastName": Field(needed=True),
            "email": TEXT,
            "subsidiary": _ref("subsidiary", needed=True),
            "department": _ref("department"),
            "title": TEXT,
            "hireDate": DAY,
            "releaseDate": DAY,
            "isJobResource": FLAG,
            "isInactive": FLAG,
        },
    ),
    RecordType(
        "projectTask",
        "title",
        "plan",
        {
            "title": Field(needed=True),
            "company": _ref("job", needed=True, fixed=True),
            "estimatedWork": NUMBER,
            "startDate": DAY,
            "finishByDate": DAY,
            "nonBillableTask": FLAG,
            "status": _choice(NOTSTART="Not Started", PROGRESS="In Progress", COMPLETE="Completed"),
        },
    ),
    RecordType(
        "resourceAllocation",
        "notes",
        "plan",
        {
            "allocationResource": _ref("employee", needed=True),
            "project": _ref("job", needed=True),
            "startDate": Field("day", needed=True),
            "endDate": Field("day", needed=True),
            "allocationAmount": Field("number", needed=True),
            "allocationUnit": _choice(needed=True, H="Hours", P="Percent of Time"),
            "allocationType": _choice(needed=True, _1="Hard", _2="Soft"),
            "notes": TEXT,
        },
    ),
    RecordType(
        "salesOrder",
        "tranId",
        "transaction",
        {**_SALE, "startDate": DAY, "endDate": DAY},
        code="SalesOrd",
    ),
    RecordType(
        "invoice",
        "tranId",
        "transaction",
        {
            **_SALE,
            **_POSTED,
            "dueDate": DAY,
            "approvalStatus": Field("choice", choices=APPROVAL),
            "amountPaid": OUR_NUMBER,
            "amountRemaining": OUR_NUMBER,
        },
        code="CustInvc",
        announced=True,
    ),
    RecordType(
        "creditMemo",
        "tranId",
        "transaction",
        {
            **_SALE,
            **_POSTED,
            "createdFrom": _ref("invoice"),
            "apply": Field("lines", lines=_APPLY_LINE),
            "applied": OUR_NUMBER,
            "unapplied": OUR_NUMBER,
            "amountRemaining": OUR_NUMBER,
        },
        code="CustCred",
        announced=True,
    ),
    RecordType(
        "customerPayment",
        "tranId",
        "transaction",
        {
            **_TRANSACTION,
            **_POSTED,
            "customer": _ref("customer", needed=True),
            "payment": Field("number", needed=True),
            "apply": Field("lines", lines=_APPLY_LINE),
            "applied": OUR_NUMBER,
            "unapplied": OUR_NUMBER,
        },
        code="CustPymt",
        announced=True,
    ),
    RecordType(
        "journalEntry",
        "tranId",
        "transaction",
        {
            **_TRANSACTION,
            **_POSTED,
            "subsidiary": _ref("subsidiary", needed=True, fixed=True),
            "approved": Field("flag", ours=True),
            "line": Field("lines", needed=True, lines=_JOURNAL_LINE),
        },
        code="Journal",
        announced=True,
    ),
    RecordType(
        "subsidiary",
        "name",
        "list",
        {"name": TEXT, "legalName": TEXT, "currency": _ref("currency"), "country": TEXT, "tranPrefix": TEXT},
    ),
    RecordType("currency", "name", "list", {"name": TEXT, "symbol": TEXT, "currencyPrecision": Field("integer")}),
    RecordType("account", "acctName", "list", {"acctNumber": TEXT, "acctName": TEXT, "acctType": TEXT}),
    RecordType("serviceSaleItem", "itemId", "list", {"itemId": TEXT, "displayName": TEXT}),
    RecordType("salesTaxItem", "itemId", "list", {"itemId": TEXT, "description": TEXT, "rate": NUMBER}),
    RecordType("department", "name", "list", {"name": TEXT}),
    RecordType("term", "name", "list", {"name": TEXT, "daysUntilNetDue": Field("integer")}),
    RecordType(
        "accountingPeriod",
        "periodName",
        "list",
        {"periodName": TEXT, "startDate": DAY, "endDate": DAY, "closed": FLAG, "isPosting": FLAG},
    ),
)
"""Record type by the name in its path."""

Exists = Callable[[str, str], bool]
"""(record type, id) -> whether it is there."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads a body into plain values, or refuses it the way NetSuite does.

    exists  whether a reference points to something
    people  a person on a screen: may set what the ERP keeps for itself, and writes money as text
    lax     properties nobody knows are dropped (header X-NetSuite-PropertyNameValidation: Ignore or Warning)
    """

    exists: Exists
    people: bool = False
    lax: bool = False

    def body(self, fields: Mapping[str, Field], body: Any, at: str = "") -> Row:
        """Return the plain values of a body; a null stays None, to delete the value."""
        if not isinstance(body, dict):
            raise refuse("INVALID_CONTENT", "Invalid content in the request: an object is expected.", path=at)
        values: Row = {}
        for name, value in body.items():
            path = f"{at}.{name}" if at else name
            spec = fields.get(name)
            if spec is None:
                if self.lax or name == "links":
                    continue
                raise refuse("INVALID_CONTENT", f"Unknown reference or field: {name}.", path=path)
            if spec.ours and not self.people:
                raise refuse("INVALID_CONTENT", f"The field {name} is read-only.", path=path)
            values[name] = None if value is None else self._value(spec, name, value, path)
        return values

    def _value(self, spec: Field, name: str, value: Any, path: str) -> Any:
        if spec.kind == "lines":
            return self._lines(spec, value, path)
        if spec.kind in ("ref", "choice"):
            return self._pointer(spec, name, value, path)
        if spec.kind == "flag":
            return self._right(isinstance(value, bool), value, "boolean", name, path)
        if spec.kind == "integer":
            return self._right(isinstance(value, int) and not isinstance(value, bool), value, "integer", name, path)
        if spec.kind == "number":
            return self._number(name, value, path)
        self._right(isinstance(value, str) and len(value) <= MOST_TEXT, value, "string", name, path)
        if spec.kind == "day":
            try:
                return date.fromisoformat(value).isoformat()
            except ValueError:
                raise self._wrong(value, name, path) from None
        return value

    def _number(self, name: str, value: Any, path: str) -> str:
        good = isinstance(value, int | Decimal) and not isinstance(value, bool)
        if self.people and isinstance(value, str | float):
            value, good = Decimal(str(value)), True
        self._right(good, value, "number", name, path)
        return format(Decimal(value), "f")

    def _pointer(self, spec: Field, name: str, value: Any, path: str) -> str:
        if self.people and isinstance(value, str):
            value = {"id": value}
        self._right(isinstance(value, dict) and isinstance(value.get("id"), str | int), value, "object", name, path)
        id = str(value["id"])
        known = id in spec.choices if spec.kind == "choice" else self.exists(spec.to, id)
        if not known:
            # the documented example of a wrong reference on a line is INVALID_CONTENT (section_156570709583);
            # INVALID_KEY_OR_REF on body fields is from public client code
            code = "INVALID_CONTENT" if "[" in path else "INVALID_KEY_OR_REF"
            text = f"Error while accessing resource: You have entered an Invalid Field Value {id}"
            raise refuse(code, f"{text} for the following field: {name}", path=path)
        return id

    def _lines(self, spec: Field, value: Any, path: str) -> list[Row]:
        if isinstance(value, dict) and isinstance(value.get("items"), list):
            value = value["items"]
        elif not (self.people and isinstance(value, list)):
            raise refuse("INVALID_CONTENT", "A sublist is written {items: [...]}.", path=path)
        return [self.body(spec.lines, line, f"{path}.items[{number}]") for number, line in enumerate(value)]

    def _right(self, good: bool, value: Any, wanted: str, name: str, path: str) -> Any:
        if not good:
            text = f"Invalid value for the field {name}. Provide a valid {wanted}."
            raise refuse("INVALID_CONTENT", text, path=path)
        return value

    def _wrong(self, value: Any, name: str, path: str) -> Exception:
        text = f"Error while accessing resource: You have entered an Invalid Field Value {value}"
        return refuse("INVALID_CONTENT", f"{text} for the following field: {name}", path=path)


def demand(fields: Mapping[str, Field], row: Row, at: str = "") -> None:
    """Refuse a row that lacks what its record type needs."""
    for name, spec in fields.items():
        path = f"{at}.{name}" if at else name
        if spec.needed and row.get(name) in (None, "", []):
            raise refuse("INVALID_CONTENT", f"Please enter value(s) for: {name}", path=path)
        if spec.kind == "lines":
            for number, line in enumerate(row.get(name) or ()):
                demand(spec.lines, line, f"{path}.items[{number}]")


def merge(fields: Mapping[str, Field], row: Row, values: Row, replace: frozenset[str]) -> Row:
    """Return the row with new values over it.

    A null deletes. A line with a known `line` changes that line, any other line is added, unless the sublist is
    named in `replace`.
    Source    section_1545142173 (null deletes); the API browser's description of `replace`
    """
    merged = dict(row)
    for name, value in values.items():
        if value is None:
            merged.pop(name, None)
        elif fields[name].kind == "lines":
            merged[name] = _merge_lines([] if name in replace else row.get(name, []), value)
        else:
            merged[name] = value
    return merged


def _merge_lines(old: list[Row], new: list[Row]) -> list[Row]:
    lines = {line["line"]: line for line in old}
    for line in new:
        number = line.get("line")
        if number is None or number not in lines:
            number = max(lines, default=0) + 1
            lines[number] = {key: value for key, value in line.items() if value is not None} | {"line": number}
        else:
            both = lines[number] | line
            lines[number] = {key: value for key, value in both.items() if value is not None}
    return [lines[number] for number in sorted(lines)]


def number(text: str) -> msgspec.Raw:
    """Write a number the way NetSuite does: 2010.0, 1622.84, never with zeros at the end."""
    plain = format(Decimal(text), "f")
    if "." in plain:
        plain = plain.rstrip("0")
        plain += "0" if plain.endswith(".") else ""
    else:
        plain += ".0"
    return msgspec.Raw(plain.encode())
