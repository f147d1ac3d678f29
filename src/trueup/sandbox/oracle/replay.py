"""Live through the firm's months: win, pay, credit, bill, post, recognise (R1 to R8, R11, R12)."""

from collections import Counter
from collections.abc import Callable
from decimal import Decimal

from trueup.sandbox.oracle.arithmetic import (
    ZERO,
    Facts,
    Json,
    amounts,
    cents,
    days_after,
    last_day,
    text,
    whole_minutes,
)
from trueup.sandbox.oracle.books import MONTH_OF, STAGES, Books, Charge, Credit, Hold, Invoice, InvoiceLine
from trueup.sandbox.oracle.firm import Firm, refusal, tax_treatment

RECEIPT_LIMIT = Decimal("25.00")


def replay(firm: Firm, stage: str) -> Books:
    """Live through the story up to the stage, including the hub's work that follows each stage."""
    books = Books(stage)
    for step in STAGES[: STAGES.index(stage) + 1]:
        if step == "deals_won":
            win(firm, books, lambda deal: deal["type"] == "new")
        if step in MONTH_OF:
            books.month = MONTH_OF[step]
            receive_payments(firm, books)
            win(firm, books, lambda deal: deal["type"] == "change_order" and deal["won_on"][:7] <= books.month)
            give_credit(firm, books)
            bill(firm, books)
        if step.endswith("_posted"):
            close(firm, books)
    return books


def win(firm: Firm, books: Books, ripe: Callable[[Facts], bool]) -> None:
    """Win the deals that are due; a deal that fails validation is held with its whole value."""
    for code, deal in firm.deals.items():
        if deal["stage"] != "won" or code in books.won or not ripe(deal):
            continue
        books.won.append(code)
        reason = refusal(firm, deal)
        if reason is None:
            books.valid.add(code)
        else:
            books.deal_holds.append(Hold(reason, deal["currency"], Decimal(deal["amount"])))


def receive_payments(firm: Firm, books: Books) -> None:
    """Let customers pay what the plan says for this month, never more than they owe."""
    for code, plan in sorted(firm.facts.get("payment_plan", {}).items()):
        invoice = books.invoices.get(code)
        if plan["paid_in"] == books.month and invoice is not None and invoice.posted:
            amount = min(cents(invoice.gross * Decimal(plan["share"])), invoice.balance)
            invoice.paid += amount
            books.payments.append((code, amount))


def give_credit(firm: Firm, books: Books) -> None:
    """Let accounts receivable credit some hours of an invoice's first line, tax included."""
    wish = firm.facts.get("credit")
    if not wish or wish["month"] != books.month:
        return
    invoice = books.invoices[wish["invoice"]]
    first = invoice.lines[min(invoice.lines)]
    minutes = 0 if first.rate is None else int(Decimal(wish["hours"]) * 60)
    net = cents(minutes * (first.rate or ZERO) / 60)
    tax = cents(net * invoice.tax_rate)
    applied = min(net + tax, invoice.balance)
    invoice.credited += applied
    books.credits.append(
        Credit(invoice.code, invoice.project, books.month, first.contract_line, minutes, net, tax, applied)
    )


def bill(firm: Firm, books: Books) -> None:
    """Run the billing of the month: everything not yet billed up to the month's last day (R1 to R8)."""
    books.holds, books.buckets, books.line_tax_held = [], Counter(), amounts()
    for project in started_projects(firm, books):
        bill_milestones(firm, books, project)
        method = firm.labour_line(project)["billing_method"]
        if method == "time_and_materials":
            charges = time_charges(firm, books, project)
        elif method == "retainer":
            charges = retainer_charges(firm, books, project)
        else:
            charges = []
            for entry in workable(firm, books, project):
                count(books, project, "covered_by_fixed_fee", entry["minutes"])
        charges += expense_charges(firm, books, project)
        settle(firm, books, project, charges)


def count(books: Books, project: Facts, bucket: str, minutes: int) -> None:
    """Put minutes into a bucket of the project."""
    if minutes:
        books.buckets[project["code"], bucket] += minutes


def hold(books: Books, project: Facts, code: str, amount: Decimal, minutes: int = 0) -> None:
    """Hold an amount, and its minutes if it is time."""
    books.holds.append(Hold(code, project["currency"], amount, minutes))
    count(books, project, f"held:{code}", minutes)


def workable(firm: Firm, books: Books, project: Facts) -> list[Json]:
    """Return the approved billable entries in order of day and key; put everything else into its bucket (R2, R7)."""
    entries = []
    for entry in firm.time[project["code"]]:
        if not books.knows(entry["submitted_in"]):
            continue
        if entry["date"] > last_day(books.month):
            count(books, project, "open", entry["minutes"])
        elif not entry["billable"]:
            count(books, project, "non_billable", entry["minutes"])
        elif not books.knows(entry["approved_in"]):
            # What a retainer's hour would add depends on the others: `retainer_charges` holds it.
            if firm.labour_line(project)["billing_method"] != "retainer":
                hold(books, project, "APPROVAL_MISSING", price(firm, project, entry) or ZERO, entry["minutes"])
        else:
            entries.append(entry)
    return entries


def price(firm: Firm, project: Facts, entry: Facts) -> Decimal | None:
    """R1: the entry's amount; nothing where a fee pays for it; None without a rate."""
    if firm.labour_line(project)["billing_method"] != "time_and_materials":
        return ZERO
    rate = firm.bill_rate(project, entry)
    return None if rate is None else cents(entry["minutes"] * rate / 60)


def time_charges(firm: Firm, books: Books, project: Facts) -> list[Charge]:
    """Return the time that may be billed now: priced, and inside what is left of the cap (R1, R3)."""
    line = firm.labour_line(project)
    cap = firm.cap(line, project["deal"], last_day(books.month))
    room = None if cap is None else max(ZERO, cap - books.line_billed[line["key"]])
    charges = []
    for entry in workable(firm, books, project):
        rate, amount = firm.bill_rate(project, entry), price(firm, project, entry)
        if rate is None or amount is None:
            hold(books, project, "RATE_MISSING", ZERO, entry["minutes"])
            continue
        done, done_minutes = books.billed.get(entry["key"], (ZERO, 0))
        count(books, project, "billed", done_minutes)
        left, minutes = amount - done, entry["minutes"] - done_minutes
        if entry["key"] in books.billed and left == 0:
            continue
        inside = left if room is None else min(left, room)
        if inside == left:
            now = minutes
        else:
            now = whole_minutes(minutes, inside, left)
            hold(books, project, "CAP_EXCEEDED", left - inside, minutes - now)
        if inside or left == 0:
            key = f"1-time-{entry['role']}-{text(rate):0>10}"
            charges.append(Charge(entry["key"], key, line["key"], inside, now, rate))
        if room is not None:
            room -= inside
    return charges


def retainer_charges(firm: Firm, books: Books, project: Facts) -> list[Charge]:
    """Return the month's fee, fees not billed before, and the hours beyond the included ones (R6)."""
    line, deal = firm.labour_line(project), firm.deals[project["deal"]]
    fee, rate = Decimal(line["monthly_fee"]), Decimal(line["overage_rate"])
    charges = [
        Charge(key, "0-fee-retainer", line["key"], fee)
        for month in months_of(deal, books.month)
        if (key := f"{project['code']}-fee-{month}") not in books.billed
    ]
    allowance = int(Decimal(line["included_hours"]) * 60)
    for entry in workable(firm, books, project):
        if entry["key"] not in books.covered:
            inside = min(allowance, entry["minutes"])
            allowance -= inside
            books.covered[entry["key"]] = inside, entry["minutes"] - inside
        inside, beyond = books.covered[entry["key"]]
        count(books, project, "covered_by_fixed_fee", inside)
        if entry["key"] in books.billed:
            count(books, project, "billed", beyond)
        elif beyond:
            charges.append(Charge(entry["key"], "3-overage", line["key"], cents(beyond * rate / 60), beyond, rate))
    for entry in unapproved(firm, books, project):
        inside = min(allowance, entry["minutes"])
        allowance -= inside
        beyond = entry["minutes"] - inside
        hold(books, project, "APPROVAL_MISSING", cents(beyond * rate / 60), entry["minutes"])
    return charges


def unapproved(firm: Firm, books: Books, project: Facts) -> list[Json]:
    """Return the billable entries of the month and before that nobody has approved, in order of day and key (R2)."""
    return [
        entry
        for entry in firm.time[project["code"]]
        if books.knows(entry["submitted_in"])
        and not books.knows(entry["approved_in"])
        and entry["billable"]
        and entry["date"] <= last_day(books.month)
    ]


def months_of(deal: Facts, until: str) -> list[str]:
    """Return the firm's months up to one in which the deal runs, also for a part of it."""
    return [m for m in MONTH_OF.values() if m <= until and deal["starts_on"][:7] <= m <= deal["ends_on"][:7]]


def expense_charges(firm: Firm, books: Books, project: Facts) -> list[Charge]:
    """Return the expenses that may be passed on now, with markup (R4)."""
    line, charges = firm.travel_line(project), []
    for expense in firm.expenses[project["code"]] if line else []:
        due = expense["billable"] and books.knows(expense["approved_in"]) and expense["date"] <= last_day(books.month)
        if line is None or not due or expense["key"] in books.billed:
            continue
        amount = cents(Decimal(expense["amount"]) * (1 + Decimal(line["markup_share"] or "0")))
        if Decimal(expense["amount"]) > RECEIPT_LIMIT and not expense["has_receipt"]:
            hold(books, project, "RECEIPT_MISSING", amount)
        else:
            charges.append(Charge(expense["key"], f"2-expense-{expense['category']}", line["key"], amount))
    return charges


def settle(firm: Firm, books: Books, project: Facts, charges: list[Charge]) -> None:
    """Put the charges on the project's one invoice of the month, or hold them all when their tax is open (R8, R9)."""
    if tax_treatment(firm.entities[project["entity"]]["country"], firm.bill_to(project)) is None:
        for charge in charges:
            hold(books, project, "TAX_UNDETERMINED", charge.amount, charge.minutes)
            books.line_tax_held[charge.contract_line] += charge.amount
        return
    lines: dict[str, InvoiceLine] = {}
    for charge in charges:
        line = lines.setdefault(charge.invoice_line, InvoiceLine(charge.contract_line, charge.rate))
        line.minutes += charge.minutes
        line.net += charge.amount
        done, minutes = books.billed.get(charge.key, (ZERO, 0))
        books.billed[charge.key] = done + charge.amount, minutes + charge.minutes
        books.line_billed[charge.contract_line] += charge.amount
        count(books, project, "billed", charge.minutes)
    if lines:
        draft(firm, books, project, f"{project['code']}-{books.month}", last_day(books.month), lines)


def accepted_on(milestone: Facts, books: Books) -> str | None:
    """R5: the day from which a milestone counts, or None when it does not yet."""
    completed = milestone["completed_on"]
    day = milestone["signed_on"] if milestone["acceptance_required"] else completed
    return day if completed and day and max(completed, day)[:7] <= books.month else None


def bill_milestones(firm: Firm, books: Books, project: Facts) -> None:
    """Invoice each milestone that is reached, on its own; hold the one that waits for its signature (R5)."""
    untaxed = tax_treatment(firm.entities[project["entity"]]["country"], firm.bill_to(project)) is None
    for milestone in firm.milestones(project):
        if milestone["key"] in books.invoices or not books.knows((milestone["completed_on"] or "9999")[:7]):
            continue
        amount, day = Decimal(milestone["amount"]), accepted_on(milestone, books)
        if day is None:
            hold(books, project, "SIGNOFF_MISSING", amount)
        elif untaxed:
            hold(books, project, "TAX_UNDETERMINED", amount)
        else:
            line = InvoiceLine(milestone["line_key"], None, net=amount)
            draft(firm, books, project, milestone["key"], day, {f"0-milestone-{milestone['key']}": line})


def draft(firm: Firm, books: Books, project: Facts, code: str, day: str, lines: dict[str, InvoiceLine]) -> None:
    """Write a draft invoice."""
    buyer = firm.bill_to(project)
    treatment = tax_treatment(firm.entities[project["entity"]]["country"], buyer)
    if treatment is None:
        raise ValueError(f"{code} has no tax treatment")
    due = days_after(day, int(buyer["payment_terms_days"]))
    books.invoices[code] = Invoice(code, project["code"], buyer["key"], day, due, *treatment, lines)


def close(firm: Firm, books: Books) -> None:
    """Post every draft and take the month's revenue (R11, R12)."""
    for invoice in books.invoices.values():
        invoice.posted = True
    books.closed.append(books.month)
    books.recognised[books.month] = {
        line["key"]: recognised(firm, books, project, line)
        for project in started_projects(firm, books)
        for line in firm.lines(project)
    }
    books.billed_to[books.month] = {
        project["code"]: billed(books, project, books.month) for project in started_projects(firm, books)
    }


def recognised(firm: Firm, books: Books, project: Facts, line: Facts) -> Decimal:
    """Return what a contract line has earned to date, less what was credited (R11, R12)."""
    method = firm.packages[line["package"]]["revenue_method"]
    if method == "milestone":
        own = (one for one in firm.milestones(project) if one["line_key"] == line["key"])
        earned = sum((Decimal(one["amount"]) for one in own if accepted_on(one, books)), ZERO)
    elif method == "hours":
        minutes = sum(one["minutes"] for one in firm.time[project["code"]] if books.knows(one["approved_in"]))
        share = min(Decimal(1), minutes / (Decimal(line["estimated_hours"]) * 60))
        earned = cents(Decimal(line["amount"]) * share)
    else:
        # A charge is earned in the run that bills it, or that would bill it if only its tax were known.
        earned = books.line_billed[line["key"]] + books.line_tax_held[line["key"]]
    return earned - sum((one.net for one in books.credits if one.contract_line == line["key"]), ZERO)


def billed(books: Books, project: Facts, month: str) -> Decimal:
    """R12: posted invoices less posted credit memos of a project up to a month's end, net."""
    invoices = [one for one in books.invoices.values() if one.project == project["code"]]
    posted = sum((one.net for one in invoices if one.posted and one.dated[:7] <= month), ZERO)
    codes = {one.code for one in invoices}
    return posted - sum((one.net for one in books.credits if one.invoice in codes and one.month <= month), ZERO)


def started_projects(firm: Firm, books: Books) -> list[Json]:
    """Return the projects of deals that are won and passed validation, by code."""
    return [one for _, one in sorted(firm.projects.items()) if one["deal"] in books.valid]
