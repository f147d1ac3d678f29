"""What the hub's own books must hold and show, from the replayed months (R12 to R15)."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import date
from decimal import Decimal

from trueup.sandbox.oracle.arithmetic import (
    ZERO,
    Facts,
    Json,
    Months,
    add_up,
    amounts,
    last_day,
    tenths,
    text,
    weekdays,
    written,
)
from trueup.sandbox.oracle.books import MONTH_OF, Books, Credit, Hold, Invoice
from trueup.sandbox.oracle.firm import Firm
from trueup.sandbox.oracle.replay import started_projects


def expected_books(firm: Firm, books: Books) -> Json:
    """Return what the hub must hold and show."""
    projects = started_projects(firm, books)
    revenue = {project["code"]: revenue_months(firm, books, project) for project in projects}
    costs = {project["code"]: cost_months(firm, books, project) for project in projects}
    return {
        "counts": {
            "opportunities_won": len(books.won),
            "projects": len(projects),
            "time_entries": sum(books.knows(one["submitted_in"]) for one in firm.facts["time"]),
            "expenses": sum(books.knows(one["approved_in"]) for one in firm.facts["expenses"]),
            "invoices": len(books.invoices),
        },
        "projects": {project["code"]: show_project(firm, project) for project in projects},
        "customers": sorted({firm.bill_to(project)["name"] for project in projects}),
        "employees": sorted(one["worker_number"] for one in firm.people.values()),
        "assignments": {project["code"]: show_staff(firm, project) for project in projects if books.reached("staffed")},
        "invoices": {code: show_invoice(firm, one) for code, one in sorted(books.invoices.items())},
        "credit_memos": {one.invoice: show_credit(firm, books, one) for one in books.credits},
        "payments": show_payments(firm, books),
        "held": show_holds([*books.deal_holds, *books.holds]),
        "buckets": show_buckets(books),
        "revenue": show_revenue(firm, books, revenue),
        "costs": {code: {m: written(row) for m, row in months.items()} for code, months in costs.items()},
        "margin": {one["code"]: written(project_result(one["code"], revenue, costs)) for one in projects},
        "journals": journals(firm, books, revenue, costs),
        "metrics": metrics(firm, books, revenue, costs) if books.reached("october_posted") else {},
    }


def show_project(firm: Firm, project: Facts) -> Json:
    """Return a project in natural keys."""
    return {
        "deal": project["deal"],
        "entity": project["entity"],
        "currency": project["currency"],
        "customer": firm.bill_to(project)["name"],
        "phases": sorted(project["phases"]),
        "milestones": [one["key"] for one in firm.milestones(project)],
        "manager": firm.people[project["manager"]]["worker_number"],
    }


def show_staff(firm: Firm, project: Facts) -> list[Json]:
    """Return who is assigned to a project."""
    return sorted(
        (
            {
                "worker": firm.people[one["person"]]["worker_number"],
                "role": one["role"],
                "planned_minutes": one["planned_minutes"],
            }
            for one in project["staff"]
        ),
        key=lambda one: str(one["worker"]),
    )


def show_invoice(firm: Firm, invoice: Invoice) -> Json:
    """Return an invoice with its lines by key."""
    project = firm.projects[invoice.project]
    return {
        "project": invoice.project,
        "customer": firm.customers[invoice.customer]["name"],
        "entity": project["entity"],
        "currency": project["currency"],
        "date": invoice.dated,
        "due": invoice.due,
        "period": invoice.dated[:7],
        "tax_treatment": invoice.treatment,
        "net": text(invoice.net),
        "tax": text(invoice.tax),
        "gross": text(invoice.gross),
        "lines": {key: line.shown() for key, line in sorted(invoice.lines.items())},
        "status": invoice.status,
        "balance": text(invoice.balance),
    }


def show_credit(firm: Firm, books: Books, credit: Credit) -> Json:
    """Return a credit memo; it is known by the invoice it corrects."""
    invoice = books.invoices[credit.invoice]
    project = firm.projects[invoice.project]
    return {
        "customer": firm.customers[invoice.customer]["name"],
        "entity": project["entity"],
        "currency": project["currency"],
        "net": text(credit.net),
        "tax": text(credit.tax),
        "gross": text(credit.gross),
        "applied": text(credit.applied),
    }


def show_payments(firm: Firm, books: Books) -> Json:
    """Return the payments: how many, how much in each currency, and what each invoice received."""
    totals: dict[str, Json] = {}
    for code, amount in books.payments:
        total = totals.setdefault(currency_of(firm, books, code), {"count": 0, "amount": ZERO})
        total["count"] += 1
        total["amount"] += amount
    return {
        "count": len(books.payments),
        "currencies": {name: {**one, "amount": text(one["amount"])} for name, one in sorted(totals.items())},
        "invoices": {one.code: text(one.paid) for _, one in sorted(books.invoices.items()) if one.paid},
    }


def currency_of(firm: Firm, books: Books, invoice: str) -> str:
    """Return the currency of an invoice."""
    return str(firm.projects[books.invoices[invoice].project]["currency"])


def show_holds(holds: Iterable[Hold]) -> Json:
    """Return per code how many things are held, for how much, and the minutes in them."""
    shown: dict[str, Json] = {}
    for one in holds:
        row = shown.setdefault(one.code, {"count": 0, "amounts": amounts(), "minutes": 0})
        row["count"] += 1
        row["amounts"][one.currency] += one.amount
        row["minutes"] += one.minutes
    return {
        code: {**row, "amounts": written(dict(sorted(row["amounts"].items())))} for code, row in sorted(shown.items())
    }


def show_buckets(books: Books) -> Json:
    """Return the minutes of each project by bucket; credited minutes are billed no more."""
    buckets = Counter(books.buckets)
    for credit in books.credits:
        buckets[credit.project, "billed"] -= credit.minutes
        buckets[credit.project, "credited"] += credit.minutes
    shown: dict[str, Json] = defaultdict(dict)
    for (project, bucket), minutes in sorted(buckets.items()):
        shown[project][bucket] = minutes
    return dict(shown)


def revenue_months(firm: Firm, books: Books, project: Facts) -> dict[str, dict[str, Decimal]]:
    """Return a project's revenue per closed month: what happened in it, and the balances at its end (R12)."""
    rows: dict[str, dict[str, Decimal]] = {}
    before = {"recognised_to_date": ZERO, "billed_to_date": ZERO}
    for month in books.closed:
        earned = sum((books.recognised[month][line["key"]] for line in firm.lines(project)), ZERO)
        invoiced = books.billed_to[month][project["code"]]
        rows[month] = {
            "recognised": earned - before["recognised_to_date"],
            "billed": invoiced - before["billed_to_date"],
            "recognised_to_date": earned,
            "billed_to_date": invoiced,
            "deferred": max(ZERO, invoiced - earned),
            "unbilled": max(ZERO, earned - invoiced),
        }
        before = rows[month]
    return rows


def cost_months(firm: Firm, books: Books, project: Facts) -> dict[str, dict[str, Decimal]]:
    """Return a project's labour and expense cost per closed month, booked when approved (R13)."""
    return {
        month: {
            "labour": sum((firm.labour_cost(e) for e in firm.time[project["code"]] if e["approved_in"] == month), ZERO),
            "expense": sum(
                (Decimal(e["amount"]) for e in firm.expenses[project["code"]] if e["approved_in"] == month), ZERO
            ),
        }
        for month in books.closed
    }


def show_revenue(firm: Firm, books: Books, revenue: Months) -> Json:
    """Return revenue per contract and currency, per currency, and to date per contract line."""
    contracts: dict[str, Json] = defaultdict(dict)
    for code, months in revenue.items():
        project = firm.projects[code]
        contracts[project["deal"]][project["currency"]] = {month: written(row) for month, row in months.items()}
    return {
        "contracts": dict(contracts),
        "currencies": {
            currency: {month: written(add_up(revenue[code][month] for code in codes)) for month in books.closed}
            for currency, codes in by_currency(firm, revenue).items()
        },
        "lines": {
            line["key"]: {month: text(books.recognised[month][line["key"]]) for month in books.closed}
            for code in revenue
            for line in firm.lines(firm.projects[code])
        },
    }


def by_currency(firm: Firm, codes: Iterable[str]) -> dict[str, list[str]]:
    """Group project codes by their currency."""
    groups: dict[str, list[str]] = {}
    for code in codes:
        groups.setdefault(firm.projects[code]["currency"], []).append(code)
    return dict(sorted(groups.items()))


def project_result(code: str, revenue: Months, costs: Months) -> dict[str, Decimal]:
    """R13: what a project earned and cost to date."""
    total = add_up([*costs[code].values(), *({"recognised": row["recognised"]} for row in revenue[code].values())])
    earned, labour, expense = (total.get(name, ZERO) for name in ("recognised", "labour", "expense"))
    return {"recognised": earned, "labour": labour, "expense": expense, "margin": earned - labour - expense}


def journals(firm: Firm, books: Books, revenue: Months, costs: Months) -> Json:
    """Return the journals of the closed months, one per entity, month and kind; empty ones are not made (R14)."""
    debits: dict[tuple[str, str, str], list[tuple[str, str, Decimal]]] = defaultdict(list)
    for code, months in revenue.items():
        project, deferred, unbilled = firm.projects[code], ZERO, ZERO
        for month, row in months.items():
            lines = debits["REV", project["entity"], month]
            lines.append(("4000", project["deal"], -row["recognised"]))
            lines.append(("2400", project["deal"], row["billed"] - (row["deferred"] - deferred)))
            lines.append(("1150", project["deal"], row["unbilled"] - unbilled))
            deferred, unbilled = row["deferred"], row["unbilled"]
    for code, months in costs.items():
        for month, row in months.items():
            lines = debits["COST", firm.projects[code]["entity"], month]
            lines.append(("5000", code, row["labour"]))
    shown = {}
    for (kind, entity, month), lines in sorted(debits.items()):
        if kind == "COST":
            lines.append(("5090", "", -sum((amount for _, _, amount in lines), ZERO)))
        kept, subject = [line for line in lines if line[2]], {"REV": "contract", "COST": "project"}[kind]
        if kept:
            shown[f"{kind}-{entity}-{month}"] = {
                "entity": entity,
                "currency": firm.entities[entity]["currency"],
                "period": month,
                "lines": [
                    {"account": account, subject: of, "debit": text(max(x, ZERO)), "credit": text(max(-x, ZERO))}
                    for account, of, x in sorted(kept)
                ],
                "total": text(sum((amount for _, _, amount in kept if amount > 0), ZERO)),
            }
    return shown


def metrics(firm: Firm, books: Books, revenue: Months, costs: Months) -> Json:
    """Return the figures of the story's last day (R15)."""
    months = sorted(MONTH_OF.values())
    first, last = date.fromisoformat(f"{months[0]}-01"), date.fromisoformat(last_day(months[-1]))
    return {
        "entities": {
            code: entity_metrics(firm, books, revenue, code, (last - first).days + 1)
            for code in sorted(firm.entities)
            if any(firm.projects[one]["entity"] == code for one in revenue)
        },
        "utilisation_percent": utilisation(firm, first, last),
        "backlog": written(backlog(firm, books)),
        "margin_percent": {
            currency: percent(total["margin"], total["recognised"])
            for currency, codes in by_currency(firm, revenue).items()
            for total in [add_up(project_result(code, revenue, costs) for code in codes)]
        },
    }


def percent(part: Decimal, whole: Decimal) -> str:
    """Write a share of a whole in percent; nothing of nothing is 0.0."""
    return tenths(100 * part / whole) if whole else "0.0"


def entity_metrics(firm: Firm, books: Books, revenue: Months, entity: str, days: int) -> Json:
    """Return billed, earned and owed of one legal entity. Credit memos lower what was billed and what is owed."""
    own = {code for code in revenue if firm.projects[code]["entity"] == entity}
    last = add_up(revenue[code][books.closed[-1]] for code in own)
    invoices = {one.code: one for one in books.invoices.values() if one.posted and one.project in own}
    credits = [one for one in books.credits if one.invoice in invoices]
    owed = sum((one.balance for one in invoices.values()), ZERO) - sum(
        (one.gross - one.applied for one in credits), ZERO
    )
    gross = sum((one.gross for one in invoices.values()), ZERO) - sum((one.gross for one in credits), ZERO)
    return {
        "currency": firm.entities[entity]["currency"],
        "billed": text(last["billed_to_date"]),
        "recognised": text(last["recognised_to_date"]),
        "deferred": text(last["deferred"]),
        "unbilled": text(last["unbilled"]),
        "receivable": text(owed),
        "dso_days": tenths(owed / gross * days) if gross else "0.0",
    }


def utilisation(firm: Firm, first: date, last: date) -> str:
    """R15: approved billable minutes as a share of the minutes people could have worked, in percent."""
    worked = sum(
        one["minutes"] for entries in firm.time.values() for one in entries if one["billable"] and one["approved_in"]
    )
    available = ZERO
    for person in firm.people.values():
        start = max(first, date.fromisoformat(person["hired_on"]))
        end = min(last, date.fromisoformat(person["terminated_on"] or last.isoformat()))
        available += weekdays(start, end) * Decimal(person["weekly_hours"]) / 5 * 60
    return percent(Decimal(worked), available)


def backlog(firm: Firm, books: Books) -> dict[str, Decimal]:
    """R15: what the contracts' lines, with won change orders, still have to earn; per currency."""
    left: dict[str, Decimal] = {}
    day = last_day(books.closed[-1])
    for project in started_projects(firm, books):
        for line in firm.lines(project):
            added = sum((Decimal(one["amount"]) for one in firm.change_orders(line, project["deal"], day)), ZERO)
            earned = books.recognised[books.closed[-1]][line["key"]]
            rest = max(ZERO, Decimal(line["amount"]) + added - earned)
            left[line["currency"]] = left.get(line["currency"], ZERO) + rest
    return dict(sorted(left.items()))
