"""Read what the five systems hold from their raw tables, in the shape in which it is expected."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from decimal import Decimal

from trueup.sandbox.oracle.arithmetic import ZERO, Facts, Json, add_up, amounts, cents, text, written
from trueup.sandbox.oracle.books import standing

Tables = Mapping[str, Mapping[str, Facts]]
"""One system's rows, by table and id."""

MILESTONE = re.compile(r"\S+-M\d+")
"""A milestone's title begins with its key."""

POSTED_IN_CONCUR = ("POSTING_CONFIRMED_SUCCESS", "PAYMENT_CONFIRMED_SUCCESS", "PAID")


def read_systems(dump: Mapping[str, Tables]) -> Json:
    """Return what the systems hold, in the shape of `expected(...)["systems"]`.

    dump    system -> table -> id -> row, as the simulators keep them: the HR system holds nothing of the hub's
    """
    erp = dump.get("netsuite", {})
    return {
        "salesforce": {"deals": read_deals(dump.get("salesforce", {}))},
        "kantata": read_psa(dump.get("kantata", {}), erp),
        "netsuite": read_erp(erp),
        "concur": {"confirmed_reports": read_confirmed(dump.get("concur", {}))},
    }


def rows(tables: Tables, table: str) -> list[Facts]:
    """Return the rows of a table that are not deleted."""
    return [row for row in tables.get(table, {}).values() if not row.get("IsDeleted") and not row.get("deleted_at")]


def money(value: object) -> Decimal:
    """Read an amount, given as text or number; nothing is zero."""
    return ZERO if value is None else Decimal(str(value))


def read_deals(crm: Tables) -> Json:
    """Return the deals with what the hub wrote on them."""
    return {
        row["Deal_Code__c"]: {
            "won": row["StageName"] == "Closed Won",
            "project_codes": sorted(
                code.strip() for code in re.split("[;,]", row["Trueup_Project_Codes__c"] or "") if code
            ),
            "billed": text(money(row["Trueup_Billed__c"])),
        }
        for row in rows(crm, "Opportunity")
    }


def task_name(title: str) -> str:
    """Return a phase by its title and a milestone by its key."""
    first = title.partition(" ")[0]
    return first if MILESTONE.fullmatch(first) else title


def read_psa(psa: Tables, erp: Tables) -> Json:
    """Return each workspace with its tasks and its time, and the invoice states that stand on it.

    A workspace is known by its title, which begins with the project's code; an invoice by the key it has in the ERP.
    """
    code_of = {str(row["id"]): str(row["title"]).partition(" ")[0] for row in rows(psa, "workspaces")}
    workspaces: dict[str, Json] = {code: {"tasks": [], "time_entries": 0, "minutes": 0} for code in code_of.values()}
    for story in rows(psa, "stories"):
        workspaces[code_of[str(story["workspace_id"])]]["tasks"].append(task_name(story["title"]))
    for entry in rows(psa, "time_entries"):
        workspace = workspaces[code_of[str(entry["workspace_id"])]]
        workspace["time_entries"] += 1
        workspace["minutes"] += int(entry["time_in_minutes"])
    for workspace in workspaces.values():
        workspace["tasks"].sort()
    invoice_of = {row.get("externalId"): row.get("custbody_trueup_code") for row in rows(erp, "invoice")}
    references: dict[str, Json] = {code: {} for code in code_of.values()}
    for row in rows(psa, "external_references"):
        if row["service_model"] == "invoice" and row["subject_type"] == "Workspace":
            code = invoice_of.get(row["service_model_ref"]) or str(row["service_model_ref"])
            references[code_of[str(row["subject_id"])]][code] = row["external_status"]
    return {"workspaces": workspaces, "references": references}


def read_confirmed(expense: Tables) -> list[str]:
    """Return the reports whose posting the hub confirmed."""
    return sorted(
        str(row["document"]["report"]["reportId"])
        for row in rows(expense, "documents")
        if row["docStatus"] in POSTED_IN_CONCUR
    )


def read_erp(erp: Tables) -> Json:
    """Return the ERP's master data, documents and journals in natural keys."""
    job_of = {str(row["id"]): str(row["entityId"]) for row in rows(erp, "job")}
    buyer_of = {str(row["id"]): str(row["companyName"]) for row in rows(erp, "customer")}
    email_of = {str(row["id"]): str(row["email"]) for row in rows(erp, "employee")}
    tasks: dict[str, list[str]] = {code: [] for code in job_of.values()}
    for row in rows(erp, "projectTask"):
        tasks[job_of[str(row["company"])]].append(task_name(row["title"]))
    allocations: dict[str, Json] = defaultdict(dict)
    for row in rows(erp, "resourceAllocation"):
        minutes = int(money(row["allocationAmount"]) * 60)
        allocations[job_of[str(row["project"])]][email_of[str(row["allocationResource"])]] = minutes
    return {
        "customers": sorted(buyer_of.values()),
        "jobs": {job_of[str(row["id"])]: buyer_of[str(row["parent"])] for row in rows(erp, "job")},
        "tasks": {code: sorted(names) for code, names in tasks.items()},
        "employees": sorted(email_of.values()),
        "allocations": dict(allocations),
        **read_documents(erp, job_of, buyer_of),
        "journals": {str(row["custbody_trueup_code"]): read_journal(erp, row) for row in rows(erp, "journalEntry")},
    }


def place(erp: Tables, row: Facts) -> Json:
    """Return the legal entity and the currency of a transaction."""
    return {
        "entity": erp["subsidiary"][str(row["subsidiary"])]["tranPrefix"],
        "currency": erp["currency"][str(row["currency"])]["symbol"],
    }


def read_documents(erp: Tables, job_of: Mapping[str, str], buyer_of: Mapping[str, str]) -> Json:
    """Return invoices, credit memos and payments. What is paid and credited is added up from the applications."""
    code_of = {str(row["id"]): str(row.get("custbody_trueup_code", row["id"])) for row in rows(erp, "invoice")}
    paid, credited = applied(erp, "customerPayment", code_of), applied(erp, "creditMemo", code_of)
    invoices = {}
    for row in rows(erp, "invoice"):
        code, gross = code_of[str(row["id"])], money(row["total"])
        invoices[code] = {
            "project": job_of.get(str(row.get("job")), ""),
            "customer": buyer_of[str(row["entity"])],
            **place(erp, row),
            "date": row["tranDate"],
            "due": row["dueDate"],
            "period": row["custbody_trueup_period"],
            "tax_treatment": tax_codes(erp, row),
            "net": text(sum((money(line["amount"]) for line in row["item"]), ZERO)),
            "tax": text(money(row["taxTotal"])),
            "gross": text(gross),
            "lines": {str(line["custcol_trueup_line"]): read_line(line) for line in row["item"]},
            "status": standing(row["approvalStatus"] == "2", gross, paid[code], credited[code]),
            "balance": text(gross - paid[code] - credited[code]),
        }
    return {
        "invoices": invoices,
        "credit_memos": {
            code_of[str(row["createdFrom"])]: {
                "customer": buyer_of[str(row["entity"])],
                **place(erp, row),
                "net": text(sum((money(line["amount"]) for line in row["item"]), ZERO)),
                "tax": text(money(row["taxTotal"])),
                "gross": text(money(row["total"])),
                "applied": text(sum((money(one["amount"]) for one in row["apply"]), ZERO)),
            }
            for row in rows(erp, "creditMemo")
        },
        "payments": read_payments(erp, paid),
    }


def read_line(line: Facts) -> Json:
    """Return an invoice line; one without a rate is one piece at its price, whatever it counts."""
    net = money(line["amount"])
    quantity, rate = (
        (money(line["quantity"]), money(line["rate"])) if line.get("rate") is not None else (Decimal(1), net)
    )
    return {"quantity": text(quantity), "rate": text(rate), "net": text(net)}


def tax_codes(erp: Tables, invoice: Facts) -> str:
    """Return the tax treatment of an invoice's lines; they have one in common."""
    names = {erp["salesTaxItem"][str(line["taxCode"])]["itemId"] for line in invoice["item"] if "taxCode" in line}
    return ", ".join(sorted(names))


def applied(erp: Tables, table: str, code_of: Mapping[str, str]) -> Mapping[str, Decimal]:
    """Return what payments or credits apply to each invoice."""
    total = amounts()
    for row in rows(erp, table):
        for one in row.get("apply", ()):
            total[code_of[str(one["doc"])]] += money(one["amount"])
    return total


def read_payments(erp: Tables, paid: Mapping[str, Decimal]) -> Json:
    """Return the payments as they are expected: how many, how much per currency, and per invoice."""
    totals: dict[str, Json] = {}
    payments = rows(erp, "customerPayment")
    for row in payments:
        total = totals.setdefault(place(erp, row)["currency"], {"count": 0, "amount": ZERO})
        total["count"] += 1
        total["amount"] += money(row["payment"])
    return {
        "count": len(payments),
        "currencies": {name: {**one, "amount": text(one["amount"])} for name, one in totals.items()},
        "invoices": written({code: amount for code, amount in paid.items() if amount}),
    }


def read_journal(erp: Tables, row: Facts) -> Json:
    """Return a journal added up by account."""
    accounts: dict[str, dict[str, Decimal]] = {}
    for line in row["line"]:
        account = str(erp["account"][str(line["account"])]["acctNumber"])
        sides = {side: cents(money(line.get(side))) for side in ("debit", "credit")}
        accounts[account] = add_up([accounts.get(account, {}), sides])
    return {
        **place(erp, row),
        "period": row["custbody_trueup_period"],
        "total": text(side_total(accounts.values(), "debit")),
        "accounts": {account: written(sides) for account, sides in accounts.items()},
    }


def side_total(accounts: Iterable[Mapping[str, Decimal]], side: str) -> Decimal:
    """Add up one side of a journal's accounts."""
    return sum((sides[side] for sides in accounts), ZERO)
