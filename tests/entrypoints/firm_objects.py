"""Bodies of canonical objects as callers of the API send them."""

from typing import Any

CUSTOMER: dict[str, Any] = {"name": "Fjord Energi", "country": "DE", "currency": "EUR", "payment_terms_days": 30}


def contract(customer: str, code: str = "X01") -> dict[str, Any]:
    """A signed contract of one line."""
    line = {
        "key": f"{code}-L1",
        "package": "ADV-TM",
        "billing_method": "time_and_materials",
        "amount": "12000.00",
        "legal_entity": "DE01",
        "currency": "EUR",
        "bill_to": customer,
    }
    return {
        "code": code, "name": f"Deal {code}", "customer": customer, "value": "12000.00", "currency": "EUR",
        "starts_on": "2026-08-01", "ends_on": "2026-12-31", "lines": [line], "status": "draft",
    }  # fmt: skip


RESOURCE: dict[str, Any] = {
    "worker_number": "9001", "name": "Ida Holm", "email": "ida.holm@nordlys.example", "legal_entity": "DE01",
    "role": "Consultant", "weekly_hours": "40",
}  # fmt: skip


def cost_rate(resource: str) -> dict[str, Any]:
    """What an hour of a person costs."""
    return {"resource": resource, "amount": "61.2550", "currency": "EUR", "valid_from": "2026-01-01"}
