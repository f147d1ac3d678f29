"""Which business facts a change makes: derived from our own states, never from a vendor's noise."""

from collections.abc import Mapping
from typing import Any

from trueup.store.changes import Event

Body = Mapping[str, Any]


def events_of(
    gid: str, kind: str, version: int, before: Body | None, after: Body, message: int | None = None
) -> list[Event]:
    """Return the facts that one change of one object makes, each with a key that makes it told once."""
    teller = _TELLERS.get(kind)
    if teller is None:
        return []
    told = teller(before or {}, after)
    return [
        Event(f"{name}/{gid}/{version}", name, gid, kind, _data(after, extra), message) for name, extra in told.items()
    ]


def _data(after: Body, extra: Mapping[str, Any]) -> dict[str, Any]:
    data = {"code": after.get("code"), "status": after.get("status"), **extra}
    return {key: value for key, value in data.items() if value is not None}


Told = dict[str, dict[str, Any]]


def _contract(before: Body, after: Body) -> Told:
    money = {"amount": after.get("value"), "currency": after.get("currency"), "day": after.get("signed_on")}
    if after["status"] == "signed" and before.get("status") != "signed":
        return {"opportunity.won": money}
    if after["status"] == "lost" and before.get("status") != "lost":
        return {"opportunity.lost": money}
    if after["status"] in ("signed", "active") and before and _differs(before, after, ("lines", "value", "ends_on")):
        return {"contract.changed": money}
    return {}


def _project(before: Body, after: Body) -> Told:
    if not before:
        return {"project.created": {}}
    if after["status"] == "active" and before["status"] in ("requested", "planned"):
        return {"project.approved": {}}
    return {"project.changed": {}} if before["status"] != after["status"] else {}


def _milestone(before: Body, after: Body) -> Told:
    told: Told = {}
    money = {"amount": after.get("amount"), "currency": after.get("currency")}
    if not before:
        told["milestone.planned"] = money
    if after.get("completed_on") and not before.get("completed_on"):
        told["milestone.completed"] = {**money, "day": after["completed_on"]}
    if after.get("accepted_on") and not before.get("accepted_on"):
        told["milestone.accepted"] = {**money, "day": after["accepted_on"]}
    return told


def _invoice(before: Body, after: Body) -> Told:
    money = {"amount": after.get("gross"), "currency": after.get("currency"), "reason": after.get("number")}
    if after.get("invoice_type") == "credit":
        return {"invoice.credited": money} if not before and after["status"] != "draft" else {}
    told: Told = {}
    was, now = before.get("status"), after["status"]
    if not before and now == "draft":
        told["invoice.drafted"] = money
    if now == "submitted" and was != "submitted":
        told["invoice.submitted"] = money
    if now in ("posted", "part_paid", "paid", "credited") and was in (None, "draft", "submitted"):
        told["invoice.posted"] = {**money, "day": after.get("posted_on") or after.get("invoice_date")}
    if now == "paid" and was != "paid":
        told["invoice.paid"] = money
    if not told and before and _differs(before, after, ("status", "balance")):
        told["invoice.changed"] = money
    return told


def _payment(before: Body, after: Body) -> Told:
    if before:
        return {}
    return {
        "payment.received": {
            "amount": after["amount"], "currency": after["currency"], "day": after["received_on"],
            "reason": after.get("reference"),
        }
    }  # fmt: skip


def _resource(before: Body, after: Body) -> Told:
    return {"worker.changed": {"reason": after.get("worker_number")}} if dict(before) != dict(after) else {}


def _rate_line(before: Body, after: Body) -> Told:
    return {"rate.changed": {"amount": after["rate"], "currency": after["currency"], "day": after["valid_from"]}}


def _customer(before: Body, after: Body) -> Told:
    return {"customer.changed": {}} if dict(before) != dict(after) else {}


def _task(before: Body, after: Body) -> Told:
    return {"task.changed": {}} if dict(before) != dict(after) else {}


def _assignment(before: Body, after: Body) -> Told:
    return {"assignment.changed": {}} if dict(before) != dict(after) else {}


def _journal(before: Body, after: Body) -> Told:
    if before and after["status"] == "posted" and before.get("status") == "expected":
        return {"journal.posted": {"amount": after["total_debit"], "currency": after["currency"]}}
    return {}


def _differs(before: Body, after: Body, names: tuple[str, ...]) -> bool:
    return any(before.get(name) != after.get(name) for name in names)


_TELLERS = {
    "contract": _contract,
    "project": _project,
    "milestone": _milestone,
    "invoice": _invoice,
    "payment": _payment,
    "resource": _resource,
    "rate_line": _rate_line,
    "customer": _customer,
    "task": _task,
    "assignment": _assignment,
    "journal_reference": _journal,
}


def approvals(entries: list[tuple[str, str, int, str]]) -> list[Event]:
    """Return one event for each sheet or report of entries that became approved.

    entries  (kind, sheet or report, message number or 0, entry and its version); approved again is told again
    """
    sheets: dict[tuple[str, str], list[tuple[int, str]]] = {}
    for kind, sheet, number, version in entries:
        sheets.setdefault((kind, sheet), []).append((number, version))
    told = []
    for (kind, sheet), approved in sheets.items():
        name = "timesheet.approved" if kind == "time_entry" else "expense_report.approved"
        data = {"code": sheet, "status": "approved", "count": len(approved)}
        key = f"{name}/{sheet}/{max(version for _, version in approved)}"
        told.append(Event(key, name, sheet, kind, data, max(number for number, _ in approved) or None))
    return told
