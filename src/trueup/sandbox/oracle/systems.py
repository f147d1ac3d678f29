"""What the five systems must hold, with the planted changes, and how each of those must be found."""

from collections import defaultdict
from dataclasses import replace
from decimal import Decimal

from trueup.sandbox.oracle.answers import expected_books
from trueup.sandbox.oracle.arithmetic import ZERO, Facts, Json, add_up, text, written
from trueup.sandbox.oracle.books import Books, standing
from trueup.sandbox.oracle.firm import Firm
from trueup.sandbox.oracle.replay import billed, started_projects

RAISED = Decimal("100.00")
"""What accounts receivable adds to an invoice's first line behind the hub's back, as a planted change."""


def expected_systems(firm: Firm, books: Books) -> Json:
    """Return what the five systems must hold, with the planted changes once they are there."""
    systems = {
        "salesforce": {"deals": {code: show_deal(firm, books, deal) for code, deal in sorted(firm.deals.items())}},
        "kantata": expected_psa(firm, books),
        "netsuite": expected_erp(firm, books),
        "concur": {"confirmed_reports": confirmed_reports(firm, books)},
    }
    if books.reached("planted"):
        for change in firm.facts.get("planted", []):
            plant(firm, books, systems, change)
    return systems


def show_deal(firm: Firm, books: Books, deal: Facts) -> Json:
    """Return a deal with what the hub writes back: its projects, and the net billed in the deal's own currency."""
    projects = [one for one in started_projects(firm, books) if one["deal"] == deal["code"]]
    own = (one for one in projects if one["currency"] == deal["currency"])
    return {
        "won": deal["code"] in books.won,
        "project_codes": [one["code"] for one in projects],
        "billed": text(sum((billed(books, one, books.month) for one in own), ZERO)),
    }


def expected_psa(firm: Firm, books: Books) -> Json:
    """Return each workspace with its time, and the invoice states shown on it once they are posted."""
    workspaces = {}
    references: dict[str, Json] = {}
    for project in started_projects(firm, books):
        entries = [one for one in firm.time[project["code"]] if books.knows(one["submitted_in"])]
        workspaces[project["code"]] = {
            "tasks": tasks_of(firm, project),
            "time_entries": len(entries),
            "minutes": sum(one["minutes"] for one in entries),
        }
        own = (one for one in books.invoices.values() if one.posted and one.project == project["code"])
        references[project["code"]] = {one.code: one.status for one in sorted(own, key=lambda one: one.code)}
    return {"workspaces": workspaces, "references": references}


def expected_erp(firm: Firm, books: Books) -> Json:
    """Return the ERP's master data, documents and journals."""
    shown = expected_books(firm, books)
    return {
        "customers": shown["customers"],
        "jobs": {code: one["customer"] for code, one in shown["projects"].items()},
        "tasks": {project["code"]: tasks_of(firm, project) for project in started_projects(firm, books)},
        "employees": sorted(one["email"] for one in firm.people.values()),
        "allocations": {
            project["code"]: {firm.people[one["person"]]["email"]: one["planned_minutes"] for one in project["staff"]}
            for project in started_projects(firm, books)
            if books.reached("staffed") and project["staff"]
        },
        "invoices": shown["invoices"],
        "credit_memos": shown["credit_memos"],
        "payments": shown["payments"],
        "journals": {code: accounts_of(one) for code, one in shown["journals"].items()},
    }


def tasks_of(firm: Firm, project: Facts) -> list[str]:
    """Return a project's tasks: its phases by name, its milestones by key."""
    return sorted([*project["phases"], *(one["key"] for one in firm.milestones(project))])


def accounts_of(journal: Facts) -> Json:
    """Return a journal with its lines added up by account."""
    accounts: dict[str, dict[str, Decimal]] = {}
    for line in journal["lines"]:
        row = {"debit": Decimal(line["debit"]), "credit": Decimal(line["credit"])}
        accounts[line["account"]] = add_up([accounts.get(line["account"], {}), row])
    kept = {name: journal[name] for name in ("entity", "currency", "period", "total")}
    return kept | {"accounts": {account: written(row) for account, row in sorted(accounts.items())}}


def confirmed_reports(firm: Firm, books: Books) -> list[str]:
    """Return the expense reports that are approved in full: the others must not be confirmed."""
    lines: dict[str, list[str | None]] = defaultdict(list)
    for expense in firm.facts["expenses"]:
        lines[expense["report"]].append(expense["approved_in"])
    return sorted(report for report, months in lines.items() if all(books.knows(month) for month in months))


def plant(firm: Firm, books: Books, systems: Json, change: Facts) -> None:
    """Make one planted change in the system it was made in."""
    if change["kind"] == "amount":
        invoice, shown = books.invoices[change["invoice"]], systems["netsuite"]["invoices"][change["invoice"]]
        first = min(invoice.lines)
        raised = replace(invoice.lines[first], net=invoice.lines[first].net + RAISED)
        gross = invoice.gross + RAISED  # the ERP leaves the tax as it was given
        shown["lines"][first] = raised.shown()
        shown |= {"net": text(invoice.net + RAISED), "gross": text(gross), "balance": text(invoice.balance + RAISED)}
        shown["status"] = standing(invoice.posted, gross, invoice.paid, invoice.credited)
    elif change["kind"] == "missing":
        entry = next(one for one in firm.facts["time"] if one["key"] == change["time"])
        workspace = systems["kantata"]["workspaces"][entry["project"]]
        workspace["time_entries"] -= 1
        workspace["minutes"] -= entry["minutes"]
    else:
        systems["salesforce"]["deals"][change["deal"]]["won"] = False


def planted_findings(firm: Firm, books: Books) -> list[Json]:
    """Return how each planted change must be found: what system, what object, which one, and what differs."""
    if not books.reached("planted"):
        return []
    findings = []
    for change in firm.facts.get("planted", []):
        if change["kind"] == "amount":
            finding = {"object": "invoice", "key": change["invoice"], "difference": text(RAISED)}
        elif change["kind"] == "missing":
            entry = next(one for one in firm.facts["time"] if one["key"] == change["time"])
            worker = firm.people[entry["person"]]["worker_number"]
            finding = {"object": "time_entry", "key": entry["key"], "difference": f"-{entry['minutes']} minutes"}
            finding |= {"project": entry["project"], "worker": worker, "worked_on": entry["date"]}
        else:
            finding = {"object": "opportunity", "key": change["deal"], "difference": "Closed Won -> Negotiation"}
        findings.append({"kind": change["kind"], "system": change["system"], **finding})
    return findings
