"""One valid body of every kind, as the hub stores it: JSON-plain."""

from typing import Any

from trueup.kernel.ids import derive

CUSTOMER = derive("customer", "C01")
CONTRACT = derive("contract", "D07")
PROJECT = derive("project", "D07-DE01")
RESOURCE = derive("resource", "P001")
TASK = derive("task", "D07-DE01", "Discovery")
MILESTONE = derive("milestone", "D05-M1")
INVOICE = derive("invoice", "D07-DE01-2026-08")

BODIES: dict[str, dict[str, Any]] = {
    "customer": {
        "name": "Rheinwerk Pumpen", "legal_name": "Rheinwerk Pumpen GmbH", "customer_number": "10042", "country": "DE",
        "region": "NW", "tax_id": "DE812345678", "currency": "EUR", "payment_terms_days": 45,
        "billing_email": "rechnung@rheinwerk.example", "industry": "Machinery", "credit_hold": False, "status": "active",
    },
    "contract": {
        "code": "D07", "name": "Operating model", "customer": CUSTOMER, "contract_type": "new", "amends": None,
        "value": "130000.00", "currency": "EUR", "starts_on": "2026-08-01", "ends_on": "2026-12-31",
        "signed_on": "2026-07-28", "payment_terms_days": 45, "po_number": "4500017281", "status": "signed",
        "lines": [
            {
                "key": "D07-L1", "package": "ADV-TM", "billing_method": "time_and_materials", "amount": "120000.00",
                "legal_entity": "DE01", "currency": "EUR", "bill_to": CUSTOMER, "cap": "125000.00",
                "estimated_hours": "620.50", "monthly_fee": None, "included_hours": None, "overage_rate": None,
                "markup_share": None,
            },
            {
                "key": "D07-L2", "package": "TRAVEL", "billing_method": "pass_through", "amount": "10000.00",
                "legal_entity": "DE01", "currency": "EUR", "bill_to": None, "cap": None, "estimated_hours": None,
                "monthly_fee": None, "included_hours": None, "overage_rate": None, "markup_share": "0.05",
            },
        ],
    },
    "rate_line": {
        "contract": CONTRACT, "role": "Consultant", "rate": "185.50", "currency": "EUR", "valid_from": "2026-01-01",
        "valid_to": None, "status": "active",
    },
    "milestone": {
        "code": "D05-M1", "contract": CONTRACT, "project": PROJECT, "line_key": "D05-L1", "name": "Data model",
        "sequence": 1, "amount": "48000.00", "currency": "EUR", "planned_on": "2026-09-15", "acceptance_required": True,
        "completed_on": None, "accepted_on": None, "accepted_by": None, "status": "planned",
    },
    "project": {
        "code": "D07-DE01", "name": "Operating model", "contract": CONTRACT, "customer": CUSTOMER, "legal_entity": "DE01",
        "currency": "EUR", "budget": "130000.00", "starts_on": "2026-08-01", "ends_on": "2026-12-31", "manager": RESOURCE,
        "practice": "Advisory", "department": "Consulting", "status": "active",
    },
    "task": {
        "project": PROJECT, "name": "Discovery", "task_type": "phase", "planned_hours": "240.5", "billable": True,
        "starts_on": "2026-08-03", "ends_on": None, "completed_on": None, "milestone": None, "status": "in_progress",
    },
    "resource": {
        "worker_number": "1001", "name": "Ada Lindqvist", "email": "ada.lindqvist@nordlys.example", "legal_entity": "DE01",
        "department": "Consulting", "practice": "Advisory", "role": "Consultant", "hired_on": "2024-02-01",
        "terminated_on": None, "weekly_hours": "40", "status": "active",
    },
    "cost_rate": {
        "resource": RESOURCE, "amount": "61.25", "currency": "EUR", "valid_from": "2026-01-01", "status": "active",
    },
    "assignment": {
        "project": PROJECT, "resource": RESOURCE, "role": "Consultant", "starts_on": "2026-08-03", "ends_on": "2026-10-30",
        "planned_minutes": 14400, "status": "hard",
    },
    "time_entry": {
        "status": "approved", "resource": RESOURCE, "project": PROJECT, "task": TASK, "role": "Consultant",
        "worked_on": "2026-08-27", "minutes": 90, "billable": True, "notes": "Interviews", "sheet": "P001-2026-W35",
    },
    "expense_line": {
        "status": "approved", "report": "R012", "line_number": 3, "resource": RESOURCE, "project": PROJECT,
        "spent_on": "2026-08-20", "category": "Hotel", "amount": "180.40", "currency": "EUR", "amount_spent": "29750",
        "currency_spent": "JPY", "billable": True, "has_receipt": True, "vendor_name": "Hotel Nord",
    },
    "invoice": {
        "code": "D07-DE01-2026-08", "invoice_type": "invoice", "corrects": None, "customer": CUSTOMER, "contract": CONTRACT,
        "project": PROJECT, "legal_entity": "DE01", "currency": "EUR", "invoice_date": "2026-08-31", "due_on": "2026-10-15",
        "period": "2026-08", "tax_treatment": "domestic", "tax_rate": "0.19", "tax_reason": "VAT of DE, standard rate", "withheld": None, "prepaid": None,
        "prepaid_tax": None, "net": "278.25", "tax": "52.87",
        "gross": "331.12", "balance": None, "number": None, "posted_on": None, "status": "draft",
        "lines": [
            {
                "key": "1-time-Consultant-0000185.50", "description": "Consultant", "quantity": "1.5", "unit": "hour",
                "rate": "185.50", "net": "278.25", "project": PROJECT, "charge_kind": "time",
            }
        ],
    },
    "payment": {
        "reference": "PMT-1", "customer": CUSTOMER, "received_on": "2026-09-20", "amount": "331.12", "currency": "EUR",
        "applications": [{"invoice": INVOICE, "amount": "331.12"}], "status": "applied",
    },
    "revenue_schedule": {
        "contract": CONTRACT, "obligation": "SUPPORT", "line_key": "D07-L1", "method": "as_invoiced", "currency": "EUR", "legal_entity": "DE01",
        "periods": [
            {"period": "2026-08", "recognised": "278.25", "billed": "278.25", "deferred": "0.00", "unbilled": "0.00"}
        ],
        "status": "active",
    },
    "journal_reference": {
        "code": "REV-DE01-2026-08", "legal_entity": "DE01", "currency": "EUR", "period": "2026-08",
        "journal_type": "revenue", "posted_on": "2026-08-31",
        "lines": [
            {"account": "2400", "debit": "278.25", "credit": "0.00", "contract": CONTRACT, "memo": None},
            {"account": "4000", "debit": "0.00", "credit": "278.25", "contract": CONTRACT, "memo": "D07"},
        ],
        "total_debit": "278.25", "total_credit": "278.25", "number": None, "status": "expected",
    },
}  # fmt: skip
"""Kind -> body."""
