"""The firm's books in one document: what the hub holds, object by object, to be compared with anybody's second opinion."""

from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from trueup.kernel.money import from_units
from trueup.reporting.executive import executive
from trueup.reporting.owed import owed
from trueup.store import objects
from trueup.store.database import Tx
from trueup.store.objects import Held

CENT = Decimal("0.01")


def books(tx: Tx) -> dict[str, Any]:
    """Return projects, customers, people, invoices, credits, payments, holds, buckets, revenue, costs, margin, journals.

    Keys are the firm's own codes and numbers; money is text with two digits.
    """
    names = _Names(tx)
    invoices = objects.of_kind(tx, "invoice")
    balances = {one.gid: one.balance for one in owed(tx)}
    return {
        "counts": counts(tx),
        "projects": {project.body["code"]: _project(names, project) for project in names.projects},
        "customers": sorted({names.customer(project.body["customer"]) for project in names.projects}),
        "employees": sorted(held.body["worker_number"] for held in names.resources.values()),
        "assignments": _assignments(tx, names),
        "invoices": {
            held.body["code"]: _invoice(names, held, balances.get(held.gid, Decimal(held.body["gross"])))
            for held in invoices
            if held.body["invoice_type"] == "invoice"
        },
        "credit_memos": _credits(names, invoices),
        "payments": _payments(tx),
        "held": held_by_code(tx),
        "buckets": _buckets(tx, names),
        "revenue": _revenue(tx, names),
        "costs": _costs(tx, names),
        "margin": _margin(tx, names),
        "journals": _journals(tx, names),
        "metrics": _metrics(tx),
    }


class _Names:
    """Codes of everything that is pointed to."""

    def __init__(self, tx: Tx) -> None:
        self.projects = sorted(objects.of_kind(tx, "project"), key=lambda held: str(held.body["code"]))
        self.codes = {held.gid: str(held.body["code"]) for held in self.projects}
        self.contracts = {held.gid: str(held.body["code"]) for held in objects.of_kind(tx, "contract")}
        self.customers = {held.gid: str(held.body["name"]) for held in objects.of_kind(tx, "customer")}
        self.resources = {held.gid: held for held in objects.of_kind(tx, "resource")}
        self.tasks = objects.of_kind(tx, "task")
        self.milestones = objects.of_kind(tx, "milestone")

    def customer(self, gid: str) -> str:
        """Return a customer's name."""
        return self.customers[gid]

    def worker(self, gid: str | None) -> str | None:
        """Return a person's worker number."""
        return str(self.resources[gid].body["worker_number"]) if gid and gid in self.resources else None


def _text(amount: Decimal | str | int) -> str:
    return format(Decimal(amount).quantize(CENT, ROUND_HALF_UP), "f")


def _units(units: int, currency: str) -> str:
    return _text(from_units(int(units), currency))


def counts(tx: Tx) -> dict[str, int]:
    """Return how many of each the hub holds."""
    row = tx.row(
        """
        select
            (select count(*) from objects where kind = 'contract' and status in ('signed', 'active', 'completed', 'closed'))
                as opportunities_won,
            (select count(*) from objects where kind = 'project') as projects,
            (select count(*) from time_entries) as time_entries,
            (select count(*) from expense_lines) as expenses,
            (select count(*) from objects where kind = 'invoice' and body ->> 'invoice_type' = 'invoice') as invoices
        """
    )
    return {name: int(value) for name, value in (row or {}).items()}


def _project(names: _Names, project: Held) -> dict[str, Any]:
    body = project.body
    phases = [task for task in names.tasks if task.body["project"] == project.gid and task.body["task_type"] == "phase"]
    return {
        "deal": names.contracts[body["contract"]],
        "entity": body["legal_entity"],
        "currency": body["currency"],
        "customer": names.customer(body["customer"]),
        "phases": sorted(task.body["name"] for task in phases),
        "milestones": sorted(m.body["code"] for m in names.milestones if m.body["project"] == project.gid),
        "manager": names.worker(body["manager"]),
    }


def _assignments(tx: Tx, names: _Names) -> dict[str, Any]:
    found: dict[str, list[dict[str, Any]]] = {code: [] for code in names.codes.values()}
    for held in objects.of_kind(tx, "assignment"):
        found[names.codes[held.body["project"]]].append(
            {
                "worker": names.worker(held.body["resource"]),
                "role": held.body["role"],
                "planned_minutes": held.body["planned_minutes"],
            }
        )
    return {code: sorted(rows, key=lambda row: str(row["worker"])) for code, rows in found.items()}


def _invoice(names: _Names, held: Held, balance: Decimal) -> dict[str, Any]:
    body = held.body
    return {
        "project": names.codes[body["project"]],
        "customer": names.customer(body["customer"]),
        "entity": body["legal_entity"],
        "currency": body["currency"],
        "date": body["invoice_date"],
        "due": body["due_on"],
        "period": body["period"],
        "tax_treatment": body["tax_treatment"],
        "net": _text(body["net"]),
        "tax": _text(body["tax"]),
        "gross": _text(body["gross"]),
        "lines": {
            line["key"]: {
                "quantity": _text(line["quantity"]),
                "rate": _text(line["rate"] or line["net"]),
                "net": _text(line["net"]),
            }
            for line in body["lines"]
        },
        "status": held.status,
        "balance": _text(balance),
    }


def _credits(names: _Names, invoices: Iterable[Held]) -> dict[str, Any]:
    by_gid = {held.gid: held for held in invoices}
    found = {}
    for held in by_gid.values():
        if held.body["invoice_type"] == "credit" and held.body["corrects"] in by_gid:
            corrected = by_gid[held.body["corrects"]]
            found[corrected.body["code"]] = {
                "customer": names.customer(corrected.body["customer"]),
                "entity": corrected.body["legal_entity"],
                "currency": held.body["currency"],
                "net": _text(held.body["net"]),
                "tax": _text(held.body["tax"]),
                "gross": _text(held.body["gross"]),
                "applied": _text(held.body["gross"]),
            }
    return found


def _payments(tx: Tx) -> dict[str, Any]:
    rows = tx.rows(
        """
        select body ->> 'currency' as currency, count(*) as count, sum((body ->> 'amount')::numeric) as amount
        from objects where kind = 'payment' and status <> 'reversed' group by 1 order by 1
        """
    )
    paid = tx.rows(
        """
        select i.body ->> 'code' as code, sum((a ->> 'amount')::numeric) as amount
        from objects p, jsonb_array_elements(p.body -> 'applications') a join objects i on i.gid = a ->> 'invoice'
        where p.kind = 'payment' and p.status <> 'reversed' group by 1 order by 1
        """
    )
    return {
        "count": sum(row["count"] for row in rows),
        "currencies": {row["currency"]: {"count": row["count"], "amount": _text(row["amount"])} for row in rows},
        "invoices": {row["code"]: _text(row["amount"]) for row in paid},
    }


def held_by_code(tx: Tx) -> dict[str, Any]:
    """Return open holds per code: how many, how much per currency, how many minutes.

    What is billed already is held back by nothing: that its record vanished is told by a break, and is no hold of the books.
    """
    rows = tx.rows(
        """
        select code, currency, count(*) as count, sum(amount)::bigint as amount, coalesce(sum(minutes), 0)::bigint as minutes
        from holds h where released_at is null and not (code = 'RECORD_VANISHED' and exists (
            select from buckets where fact = h.scope and bucket in ('on_draft', 'invoiced') and quantity > 0))
        group by code, currency order by code, currency
        """
    )
    found: dict[str, Any] = {}
    for row in rows:
        entry = found.setdefault(row["code"], {"count": 0, "amounts": {}, "minutes": 0})
        entry["count"] += row["count"]
        entry["minutes"] += row["minutes"]
        if row["currency"]:
            entry["amounts"][row["currency"]] = _units(row["amount"], row["currency"])
    return found


_BILLED = {"on_draft": "billed", "invoiced": "billed"}


def _buckets(tx: Tx, names: _Names) -> dict[str, Any]:
    """Return minutes per project and bucket; what is held is shown by its first reason."""
    found: dict[str, dict[str, int]] = {code: {} for code in names.codes.values()}
    for row in tx.rows(
        """
        select t.project, b.bucket, sum(b.quantity)::bigint as minutes from buckets b join time_entries t on t.gid = b.fact
        where b.bucket not in ('source', 'held', 'over_cap', 'unbilled') and b.quantity > 0 group by 1, 2
        """
    ):
        entry = found[names.codes[row["project"]]]
        name = _BILLED.get(str(row["bucket"]), str(row["bucket"]))
        entry[name] = entry.get(name, 0) + row["minutes"]
    for row in tx.rows(
        """
        select project, code, sum(minutes)::bigint as minutes from (
            select distinct on (scope) scope, project, code, minutes from holds
            where released_at is null and scope_kind = 'time_entry' and minutes is not null
            order by scope, code = 'TAX_UNDETERMINED', code) first_reason
        group by 1, 2
        """
    ):
        found[names.codes[row["project"]]][f"held:{row['code']}"] = row["minutes"]
    return found


AMOUNTS = ("recognised", "billed")


def _revenue(tx: Tx, names: _Names) -> dict[str, Any]:
    rows = tx.rows(
        """
        select contract, currency, period, sum(recognised)::bigint as recognised, sum(billed)::bigint as billed
        from positions group by contract, legal_entity, currency, period order by contract, currency, period
        """
    )
    contracts: dict[str, Any] = {}
    totals: dict[str, dict[str, dict[str, int]]] = {}
    before: dict[tuple[str, str], dict[str, int]] = {}
    for row in rows:
        last = before.get((row["contract"], row["currency"]), {"recognised": 0, "billed": 0})
        open_value = row["recognised"] - row["billed"]
        month = {
            "recognised": row["recognised"] - last["recognised"],
            "billed": row["billed"] - last["billed"],
            "recognised_to_date": row["recognised"],
            "billed_to_date": row["billed"],
            "deferred": max(0, -open_value),
            "unbilled": max(0, open_value),
        }
        before[(row["contract"], row["currency"])] = {name: row[name] for name in AMOUNTS}
        code = names.contracts[row["contract"]]
        shown = {name: _units(value, row["currency"]) for name, value in month.items()}
        contracts.setdefault(code, {}).setdefault(row["currency"], {})[row["period"]] = shown
        total = totals.setdefault(row["currency"], {}).setdefault(row["period"], dict.fromkeys(month, 0))
        for name, value in month.items():
            total[name] += value
    currencies = {
        currency: {
            period: {name: _units(value, currency) for name, value in month.items()} for period, month in months.items()
        }
        for currency, months in totals.items()
    }
    return {"contracts": contracts, "currencies": currencies, "lines": _lines(tx)}


def _lines(tx: Tx) -> dict[str, dict[str, str]]:
    """Return what each contract line earned to date at each month end."""
    found: dict[str, dict[str, str]] = {}
    for row in tx.rows(
        "select line_key, period, currency, sum(recognised)::bigint as recognised from positions group by 1, 2, 3 order by 1, 2"
    ):
        found.setdefault(row["line_key"], {})[row["period"]] = _units(row["recognised"], row["currency"])
    return found


def _metrics(tx: Tx) -> dict[str, Any]:
    """Return the executive page's figures."""
    page = executive(tx, cost=True)
    names = {"receivables": "receivable", "dso": "dso_days"}
    entities: dict[str, Any] = {}
    totals: dict[str, Any] = {"backlog": {}, "margin_percent": {}}
    for figure in page.figures:
        value = None if figure.value is None else figure.value
        if figure.legal_entity is not None:
            entry = entities.setdefault(figure.legal_entity, {})
            if figure.currency:
                entry["currency"] = figure.currency
            entry[names.get(figure.name, figure.name)] = _figure(figure.name, value)
        elif figure.name in ("backlog", "margin") and figure.currency:
            totals["margin_percent" if figure.name == "margin" else "backlog"][figure.currency] = _figure(
                figure.name, value
            )
        elif figure.name == "utilisation":
            totals["utilisation_percent"] = _figure(figure.name, value)
    return {"entities": entities, **totals}


def _figure(name: str, value: Decimal | None) -> str | None:
    if value is None:
        return None
    return str(value) if name in ("dso", "utilisation", "margin") else _text(value)


def _costs(tx: Tx, names: _Names) -> dict[str, Any]:
    found: dict[str, Any] = {code: {} for code in names.codes.values()}
    for row in tx.rows("select project, period, currency, labour, expense from margins order by project, period"):
        found[names.codes[row["project"]]][row["period"]] = {
            "labour": _units(row["labour"], row["currency"]),
            "expense": _units(row["expense"], row["currency"]),
        }
    return found


def _margin(tx: Tx, names: _Names) -> dict[str, Any]:
    rows = tx.rows(
        """
        select project, currency, sum(recognised)::bigint as recognised, sum(labour)::bigint as labour,
            sum(expense)::bigint as expense, sum(recognised - labour - expense)::bigint as margin
        from margins group by project, currency
        """
    )
    return {
        names.codes[row["project"]]: {
            name: _units(row[name], row["currency"]) for name in ("recognised", "labour", "expense", "margin")
        }
        for row in rows
    }


def _journals(tx: Tx, names: _Names) -> dict[str, Any]:
    by_contract: dict[str, list[Held]] = {}
    for project in names.projects:
        by_contract.setdefault(project.body["contract"], []).append(project)
    found = {}
    for held in objects.of_kind(tx, "journal_reference"):
        body = held.body
        cost = body["journal_type"] == "cost_allocation"
        lines = []
        for line in body["lines"]:
            homes = [
                p for p in by_contract.get(line["contract"] or "", []) if p.body["legal_entity"] == body["legal_entity"]
            ]
            of = (
                ("project", homes[0].body["code"] if homes else "")
                if cost
                else ("contract", names.contracts.get(line["contract"] or "", ""))
            )
            lines.append(
                {
                    "account": line["account"],
                    of[0]: of[1],
                    "debit": _text(line["debit"]),
                    "credit": _text(line["credit"]),
                }
            )
        found[body["code"]] = {
            "entity": body["legal_entity"],
            "currency": body["currency"],
            "period": body["period"],
            "lines": sorted(lines, key=lambda one: (one["account"], one.get("project") or one.get("contract") or "")),
            "total": _text(body["total_debit"]),
        }
    return found
