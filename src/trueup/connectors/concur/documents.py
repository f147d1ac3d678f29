"""Financial documents as SAP Concur writes them: published field names, every custom field, numbers as numbers.

Source    developer.concur.com, Financial Documents Schemas, "Expense" (read 2026-11)
"""

import json
import uuid
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from trueup.connectors.sdk.simulate import Row

NO_ENTRY_CUSTOM = {f"entryCustom{n}{part}": None for n in range(1, 41) for part in ("Code", "Value")}
NO_ALLOCATION_CUSTOM = {f"allocationCustom{n}{part}": None for n in range(1, 21) for part in ("Code", "Value")}
NAMESPACE = uuid.UUID("2f0c2ef5-64a5-5b0a-9d5c-2b8f0a4f6e11")
NUMBERS = frozenset(
    {
        "totalApprovedAmount", "cashAdvanceReturnsAmount", "entryApprovedAmount", "reportEntryTransactionAmount",
        "entryExchangeRate", "allocationPercentage", "amountGross", "amountNetOfTax", "amountNetOfReclaim",
    }
)  # fmt: skip
"""Fields that are numbers on the wire and decimal texts in the store."""


def _entry(report_id: str, place: int, entry: Row, currency: str) -> Row:
    line = entry.get("line", place)
    spent_in = entry.get("currency_spent") or currency
    spent = Decimal(entry.get("amount_spent") or entry["amount"])
    parts = entry.get("allocations") or [{"project": entry.get("project"), "percentage": "100"}]
    return {
        "entryId": entry.get("entry_id") or uuid.uuid5(NAMESPACE, f"{report_id}/{line}").hex.upper(),
        "legacyEntryId": line,
        "expenseTypeName": entry["type"],
        "expenseTypeCode": entry["type"].upper()[:5],
        "entryDate": f"{entry['date']}T00:00:00.000Z",
        "entryApprovedAmount": entry["amount"],
        "reportEntryTransactionAmount": str(spent),
        "entryCurrAlphaCode": spent_in,
        "entryExchangeRate": str(round(Decimal(entry["amount"]) / spent, 8)) if spent else "1",
        "entryExchangeRateDirection": "M",
        "entryIsBillable": "Y" if entry.get("billable") else "N",
        "entryIsPersonal": "Y" if entry.get("personal") else "N",
        "entryReceiptType": "R" if entry.get("receipt") else "N",
        "entryVendorDescription": entry.get("vendor"),
        "entryVendorCode": None,
        "reportEntryPaymentTypeCode": "CASH",
        "allocation": [
            {
                "allocationId": uuid.uuid5(NAMESPACE, f"{report_id}/{line}/{number}").hex.upper(),
                "allocationPercentage": str(part["percentage"]),
                "allocationCustom1Code": part["project"],
                "allocationCustom1Value": part["project"],
                "journal": [
                    {
                        "journalAccountCode": "5100",
                        "journalPayee": "EMPL",
                        "journalPayer": "COMP",
                        "amountGross": entry["amount"],
                        "amountNetOfTax": entry["amount"],
                        "amountNetOfReclaim": entry["amount"],
                    }
                ],
                "tax": [],
            }
            for number, part in enumerate(parts, 1)
        ],
    }


def shown(row: Row, shape: str) -> Row:
    """Write a document as the wire has it: every custom field, also the empty ones."""
    document = row["document"]
    entries = [
        {
            **NO_ENTRY_CUSTOM,
            **entry,
            "allocation": [{**NO_ALLOCATION_CUSTOM, **part} for part in entry["allocation"]],
        }
        for entry in document["expenseEntry"]
    ]
    whole: Any = {**document, "expenseEntry": entries}
    if shape == "text":
        whole = exact_json(whole).decode()
    return {**row, "document": whole, "links": []}


def exact_json(value: Any) -> bytes:
    """Write JSON; the fields of NUMBERS as numbers (the shortest text of money-sized ones is the exact one)."""

    def exact(item: Any) -> Any:
        if isinstance(item, Mapping):
            return {
                key: _number(inner) if key in NUMBERS and isinstance(inner, str) else exact(inner)
                for key, inner in item.items()
            }
        return [exact(inner) for inner in item] if isinstance(item, list) else item

    return json.dumps(exact(value), separators=(",", ":")).encode()


def _number(text: str) -> int | float:
    exact = Decimal(text)
    return int(exact) if exact == exact.to_integral_value() else float(exact)


def moment(instant: datetime) -> str:
    """Write an instant with milliseconds, as every date of a document is written."""
    return f"{instant:%Y-%m-%dT%H:%M:%S}.{instant.microsecond // 1000:03}Z"


def financial_document(report: Row, approved_at: str) -> Row:
    """Build the document of an approved report, in the published field names.

    approved_at  the moment of the last approval, as `moment` writes it
    """
    content, employee = report["content"], report["content"]["employee"]
    total = sum((Decimal(entry["amount"]) for entry in content["entries"]), Decimal())
    return {
        "employee": {
            "employeeId": str(employee.get("employee_id", "")),
            "loginId": employee["email"],
            "employeeFirstName": employee.get("first_name"),
            "employeeLastName": employee.get("last_name"),
            "employeeMI": None,
        },
        "report": {
            "reportId": report["id"],
            "reportKey": report["key"],
            "reportName": content["name"] or f"Report {report['id']}",
            "ledgerCode": content["ledger"],
            "employeeCurrencyAlphaCode": content["currency"],
            "homeCountryCode": content["country"],
            "totalApprovedAmount": str(total),
            "cashAdvanceReturnsAmount": "0",
            "isTest": "N",
            "payrollPayIndicator": "N",
            "revisionNumber": str(report["revision"]),
            "versionId": "4",
            "reportSubmitDate": report["submitted_at"],
            "reportPaymentProcessingDate": approved_at,
        },
        "expenseEntry": [
            _entry(report["id"], line, entry, content["currency"]) for line, entry in enumerate(content["entries"], 1)
        ],
        "cashAdvanceApplication": [],
    }
