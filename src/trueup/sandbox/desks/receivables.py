"""Accounts receivable at their desk: they approve drafts, book what customers pay, credit hours, and raise one line."""

from datetime import date
from decimal import ROUND_HALF_UP, Decimal

from trueup.connectors.netsuite.sandbox import NetSuiteAccount
from trueup.sandbox.nordlys import MONTH_OF_POSTING, MONTH_OF_STAGE, MONTHS, Row

CODE = "custbody_trueup_code"
LINE_KEY = "custcol_trueup_line"
APPROVED = "2"
CREDIT_DAY = 21
RAISED_BY = "100.00"


class Receivables:
    """Works in the ERP; finds an invoice by the code it carries."""

    def __init__(self, firm: Row, account: NetSuiteAccount) -> None:
        self._firm = firm
        self._account = account

    def lacks(self, stage: str) -> list[str]:
        """Return what must be there before the stage: the invoices of the months so far that something is due on."""
        present = self._invoices()
        if stage in MONTH_OF_POSTING:
            wanted = self._codes_of(MONTH_OF_POSTING[stage])
        elif stage in MONTH_OF_STAGE or stage == "planted":
            wanted = [code for code, _ in self._payments(stage)] + self._touched(stage)
        else:
            wanted = []
        return [f"netsuite: invoice with {CODE} {code}" for code in wanted if code not in present]

    def act(self, stage: str) -> None:
        """Do the stage's work."""
        if stage == "opening":
            self._account.seed(self._firm)
        elif stage in MONTH_OF_POSTING:
            self._approve_drafts()
        elif stage in MONTH_OF_STAGE:
            self._receive(stage)
            self._credit(MONTH_OF_STAGE[stage])
        elif stage == "planted":
            for code in self._touched(stage):
                row = self._invoices()[code]
                self._account.raise_line(row["id"], _first_line(row)["line"], RAISED_BY)

    def _approve_drafts(self) -> None:
        """Approve every draft, in order of day and code."""
        drafts = [row for row in self._rows() if row["approvalStatus"] != APPROVED]
        for row in sorted(drafts, key=lambda row: (row["tranDate"], row.get(CODE, ""))):
            self._account.approve_invoice(row["id"])

    def _receive(self, stage: str) -> None:
        """Book the payments planned for the month: the share of the gross, at most what is due."""
        invoices = self._invoices()
        for number, (code, share) in enumerate(self._payments(stage)):
            row = invoices[code]
            amount = (Decimal(row["total"]) * share).quantize(Decimal("0.01"), ROUND_HALF_UP)
            amount = min(amount, Decimal(row["amountRemaining"]))
            on = f"{MONTH_OF_STAGE[stage]}-{10 + number % 16:02}"
            self._account.receive_payment(row["id"], str(amount), on, f"PAY-{code}")

    def _credit(self, month: str) -> None:
        """Credit the disputed hours of the first line, when it is the month to do so."""
        credit = self._firm["credit"]
        if credit["month"] == month:
            row = self._invoices()[credit["invoice"]]
            on = date.fromisoformat(f"{month}-{CREDIT_DAY}").isoformat()
            line = _first_line(row)["line"]
            self._account.credit_invoice(row["id"], line, credit["hours"], on, f"CREDIT-{credit['invoice']}")

    def _payments(self, stage: str) -> list[tuple[str, Decimal]]:
        month = MONTH_OF_STAGE.get(stage)
        plan = sorted(self._firm["payment_plan"].items())
        return [(code, Decimal(payment["share"])) for code, payment in plan if payment["paid_in"] == month]

    def _codes_of(self, month: str) -> list[str]:
        """Return the invoices of a month that people will come back to: paid, credited or raised."""
        following = dict(zip(MONTHS, (*MONTHS[1:], None), strict=True))
        paid = [code for code, payment in self._firm["payment_plan"].items() if payment["paid_in"] == following[month]]
        others = [self._firm["credit"]["invoice"], *self._touched("planted")]
        return sorted(paid + [code for code in others if code.endswith(month)])

    def _touched(self, stage: str) -> list[str]:
        """Return the invoices that are credited or raised in the stage."""
        if stage == "planted":
            return [change["invoice"] for change in self._firm["planted"] if change["system"] == "netsuite"]
        credit = self._firm["credit"]
        return [credit["invoice"]] if credit["month"] == MONTH_OF_STAGE.get(stage) else []

    def _rows(self) -> list[Row]:
        return list(self._account.store.table("invoice").values())

    def _invoices(self) -> dict[str, Row]:
        return {row[CODE]: row for row in self._rows() if CODE in row}


def _first_line(row: Row) -> Row:
    """Return the invoice's first line, in order of our line keys."""
    first: Row = min(row["item"], key=lambda item: (item.get(LINE_KEY, ""), item["line"]))
    return first
