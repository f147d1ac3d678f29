"""What the simulated ERP does with a transaction by itself: totals, periods, numbers, payments and credits."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from trueup.connectors.netsuite.answers import refuse
from trueup.connectors.sdk.simulate import Row, Store
from trueup.kernel.clock import today
from trueup.kernel.money import round_money

ZERO: Final = Decimal(0)
SERIES: Final = {"invoice": "", "creditMemo": "C-", "customerPayment": "P-", "journalEntry": "J-", "salesOrder": "S-"}
"""Record type -> what stands before the year in its document number."""

AMOUNTS: Final = ("item", "line", "taxTotal", "entity", "job", "tranDate", "payment", "apply")
"""Fields that cannot change through the API once a document is approved."""


@dataclass(frozen=True, slots=True)
class Books:
    """The general ledger's rules over a store.

    Source    rules of trade; where NetSuite's own wording or code is not public the README says so
    """

    store: Store

    def place(self, kind: str, row: Row) -> None:
        """Fill in and check subsidiary, currency and day of a transaction."""
        customer = self.store.table("customer").get(str(row.get("customer" if kind == "customerPayment" else "entity")))
        if customer is not None:
            row.setdefault("subsidiary", customer["subsidiary"])
            if row["subsidiary"] not in customer["_subsidiaries"]:
                text = f"The customer {customer['entityId']} is not assigned to the subsidiary of this transaction."
                raise refuse("USER_ERROR", text, path="subsidiary")
        subsidiary = self.store.table("subsidiary")[row["subsidiary"]]
        row.setdefault("currency", subsidiary["currency"])
        if row["currency"] != subsidiary["currency"]:
            symbol = self.store.table("currency")[row["currency"]]["symbol"]
            text = f"The currency {symbol} is not valid for {subsidiary['name']}."
            raise refuse("USER_ERROR", text, path="currency")
        row["_symbol"] = self.store.table("currency")[row["currency"]]["symbol"]
        job = self.store.table("job").get(str(row.get("job")))
        if job is not None and job["subsidiary"] != row["subsidiary"]:
            raise refuse("USER_ERROR", f"The project {job['entityId']} belongs to another subsidiary.", path="job")
        row.setdefault("tranDate", today().isoformat())

    def period(self, row: Row) -> str:
        """Return the accounting period of a transaction's day.

        Raises    Reject when it is closed for the subsidiary; the public documentation does not show NetSuite's code.
        """
        for period in self.store.table("accountingPeriod").values():
            if period["startDate"] <= row["tranDate"] <= period["endDate"]:
                if row["subsidiary"] in period["_closed_for"]:
                    text = f"The accounting period {period['periodName']} is closed for this subsidiary."
                    raise refuse("USER_ERROR", f"{text} Choose a date in an open period.", path="tranDate")
                return str(period["id"])
        raise refuse("USER_ERROR", "There is no accounting period for the date of this transaction.", path="tranDate")

    def total(self, kind: str, row: Row) -> None:
        """Compute what the ERP computes: line amounts that are missing, subtotal, total, what is open."""
        if kind == "journalEntry":
            self._balance(row)
        elif kind == "customerPayment":
            self._spread(row, Decimal(row["payment"]))
        else:
            symbol = row["_symbol"]
            for line in row["item"]:
                if "amount" not in line:
                    product = Decimal(line.get("quantity", "1")) * Decimal(line.get("rate", "0"))
                    line["amount"] = str(round_money(product, symbol))
                line["amount"] = self._exact(line["amount"], symbol, "item")
            subtotal = sum((Decimal(line["amount"]) for line in row["item"]), ZERO)
            row["taxTotal"] = self._exact(row.get("taxTotal", "0"), symbol, "taxTotal")
            total = subtotal + Decimal(row["taxTotal"])
            row |= {"subtotal": str(subtotal), "total": str(total)}
            if kind == "invoice":
                self._standing(row)
            elif kind == "creditMemo":
                self._spread(row, total)
                row["amountRemaining"] = row["unapplied"]

    def number(self, kind: str, row: Row) -> str:
        """Return the next document number; each subsidiary has its own series per year, without gaps."""
        prefix = self.store.table("subsidiary")[row["subsidiary"]]["tranPrefix"]
        year = row["tranDate"][:4]
        return f"{prefix}-{SERIES[kind]}{year}-{self.store.next_number(f'{kind}/{prefix}/{year}'):06d}"

    def settle(self, row: Row, amount: Decimal) -> None:
        """Let a payment or a credit (or, negative, its reversal) count against an invoice."""
        row["amountPaid"] = str(Decimal(row["amountPaid"]) + amount)
        self._standing(row)

    def applications(self, row: Row) -> Iterable[tuple[str, Decimal]]:
        """Return (invoice id, amount) of each application of a payment or credit."""
        for line in row.get("apply", ()):
            if line.get("apply", True):
                yield line["doc"], Decimal(line["amount"])

    def may_apply(self, kind: str, row: Row) -> None:
        """Refuse an application to an invoice that is not open, not the customer's, or not large enough."""
        customer = row["customer" if kind == "customerPayment" else "entity"]
        for number, (id, amount) in enumerate(self.applications(row)):
            invoice, at = self.store.table("invoice")[id], f"apply.items[{number}]"
            if invoice.get("status") != "Open":
                raise refuse("USER_ERROR", f"The invoice {id} is not open.", path=f"{at}.doc")
            if (invoice["entity"], invoice["currency"]) != (customer, row["currency"]):
                raise refuse("USER_ERROR", f"The invoice {id} has another customer or currency.", path=f"{at}.doc")
            if not 0 < amount <= Decimal(invoice["amountRemaining"]):
                text = f"{amount} cannot be applied to the invoice {id}: {invoice['amountRemaining']} is due."
                raise refuse("USER_ERROR", text, path=f"{at}.amount")

    def _standing(self, row: Row) -> None:
        row.setdefault("amountPaid", "0")
        total, paid = Decimal(row["total"]), Decimal(row["amountPaid"])
        if row.get("status") == "Voided":
            total = paid = ZERO
        row["amountRemaining"] = str(total - paid)
        if row["approvalStatus"] == "2" and row.get("status") != "Voided":
            row["status"] = "Open" if total > paid else "Paid In Full"

    def _spread(self, row: Row, amount: Decimal) -> None:
        applied = sum((share for _, share in self.applications(row)), ZERO)
        if applied > amount:
            raise refuse("USER_ERROR", f"{applied} is applied, but the document has {amount} only.", path="apply")
        row |= {"applied": str(applied), "unapplied": str(amount - applied)}

    def _balance(self, row: Row) -> None:
        symbol, debit, credit = row["_symbol"], ZERO, ZERO
        for number, line in enumerate(row["line"]):
            path = f"line.items[{number}]"
            sides = {side: Decimal(line[side]) for side in ("debit", "credit") if Decimal(line.get(side, "0"))}
            if len(sides) != 1 or any(amount < 0 for amount in sides.values()):
                text = "Each line of a journal entry has either a debit or a credit, above zero."
                raise refuse("USER_ERROR", text, path=path)
            for side, amount in sides.items():
                line[side] = self._exact(str(amount), symbol, path)
            debit += sides.get("debit", ZERO)
            credit += sides.get("credit", ZERO)
        if debit != credit:
            text = f"The amounts in a journal entry must balance: debit {debit}, credit {credit}."
            raise refuse("USER_ERROR", text, path="line")

    def _exact(self, amount: str, symbol: str, path: str) -> str:
        rounded = round_money(Decimal(amount), symbol)
        if rounded != Decimal(amount):
            raise refuse("INVALID_CONTENT", f"{amount} has more digits than {symbol} allows.", path=path)
        return str(rounded)


def differs(old: Row, new: Row) -> list[str]:
    """Return the fields of an approved document that a body would change and may not."""
    return [name for name in AMOUNTS if _plain(old.get(name)) != _plain(new.get(name))]


def _plain(value: Any) -> Any:
    """Compare numbers as numbers: 100 and 100.00 are the same amount."""
    if isinstance(value, list):
        return [{key: _plain(item) for key, item in line.items() if key != "line"} for line in value]
    if isinstance(value, str) and value.replace(".", "", 1).lstrip("-").isdigit():
        return Decimal(value)
    return value
