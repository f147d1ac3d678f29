"""What the simulated account keeps and how it changes: rules of saving, and what its people do on the screens."""

import time
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final, TypeVar

from trueup.connectors.netsuite import opening
from trueup.connectors.netsuite.answers import reason, refuse
from trueup.connectors.netsuite.books import Books, differs
from trueup.connectors.netsuite.records import TYPES, Field, Reader, RecordType, demand, merge
from trueup.connectors.netsuite.sign_in import SignIn
from trueup.connectors.sdk.manifest import Manifest
from trueup.connectors.sdk.simulate import Reject, Row, Simulator, Store
from trueup.kernel.money import round_money

STAMP: Final = "%Y-%m-%dT%H:%M:%SZ"
FIRST_IDS: Final = {"entity": 501, "transaction": 1001, "plan": 1, "list": 1}
Done = TypeVar("Done")
_KEY_LETTERS: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")


class Account(Simulator):
    """One account, without its web services.

    seed(firm)                          what administrators set up before anybody connects
    create / edit / remove              what a person does on any screen
    approve_invoice, receive_payment, credit_invoice, raise_line, void_invoice, close_period, reopen_period
    shared_customers                    every new customer may buy from every subsidiary (Multi-Subsidiary Customer)
    utc_offset_hours                    the integration user's time zone, which SuiteQL uses
    """

    def __init__(self, manifest: Manifest, store: Store, credentials: Mapping[str, str], webhook_secret: str) -> None:
        super().__init__(manifest, store, credentials, webhook_secret)
        self.sign_in = SignIn(credentials, lambda: self.clock())
        self.clock: Callable[[], float] = time.time
        self.books = Books(store)
        self.shared_customers = True
        self.utc_offset_hours = 0
        self._owners = {
            (spec.family, row["externalId"]): (spec.name, id)
            for spec in TYPES.values()
            for id, row in store.table(spec.name).items()
            if row.get("externalId")
        }

    # --- what people do on the screens ---------------------------------------------------------------------------

    def seed(self, firm: Mapping[str, Any]) -> None:
        """Set up lists, accounts, periods and departments; what is there already stays.

        firm  entities [{code, name, country, currency}], departments [name]; optional items, accounts, tax_codes
        """

        def put(kind: str, id: str, row: Row) -> None:
            if id not in self.store.table(kind):
                at = self._now()
                self.store.put(kind, id, {"id": id, "createdDate": at, "lastModifiedDate": at, **row})

        opening.lay_out(firm, put)

    def create(self, table: str, row: Mapping[str, Any]) -> Row:
        """Create a record on a screen; the same row with the same id again changes nothing."""
        id = str(row["id"]) if "id" in row else None
        body = {name: value for name, value in row.items() if name != "id"}
        if id is not None and id in self.store.table(table):
            there = self.store.table(table)[id]
            if any(there.get(name) != value for name, value in self._typed(table, body).items()):
                raise ValueError(f"{table} {id} exists with other content")
            return there
        return self._enter(table, body, id or "")

    def edit(self, table: str, id: str, changes: Mapping[str, Any]) -> Row:
        """Change a record on a screen: sublists named in the changes are replaced."""
        self._there(table, id)
        values = self._typed(table, changes)
        return _by_hand(lambda: self._save(table, id, values, people=True, replace=frozenset(values)))

    def remove(self, table: str, id: str) -> None:
        """Delete a record on a screen; gone already is gone."""
        row = self.store.table(table).get(id)
        if row is None:
            return
        if table == "invoice" and row["approvalStatus"] == "2":
            raise ValueError("an approved invoice keeps its number: void it")
        _by_hand(lambda: self._drop(table, id))

    def approve_invoice(self, id: str) -> Row:
        """Approve a draft: it gets its number and its period and is open; an approved one stays as it is."""
        row = self._there("invoice", id)
        if row["approvalStatus"] == "2":
            return row

        def approve() -> Row:
            period = self.books.period(row)
            new = row | {"approvalStatus": "2", "postingPeriod": period, "tranId": self.books.number("invoice", row)}
            self.books.total("invoice", new)
            return self._keep("invoice", new, "approve")

        return _by_hand(approve)

    def void_invoice(self, id: str) -> Row:
        """Void an approved invoice nothing was paid on; it keeps its number."""
        row = self._there("invoice", id)
        if row.get("status") == "Voided":
            return row
        if row["approvalStatus"] != "2" or Decimal(row["amountPaid"]):
            raise ValueError("only an approved invoice without payments can be voided")

        def void() -> Row:
            self.books.period(row)
            new = row | {"status": "Voided"}
            self.books.total("invoice", new)
            return self._keep("invoice", new, "edit")

        return _by_hand(void)

    def receive_payment(self, invoice_id: str, amount: str, on: str, reference: str = "") -> Row:
        """Record money received for an invoice and apply it.

        reference  the bank's reference; with the same one again nothing happens twice
        """
        invoice = self._there("invoice", invoice_id)
        known = self._known("customerPayment", reference)
        if known is not None:
            return known
        body: Row = {
            "customer": invoice["entity"],
            "subsidiary": invoice["subsidiary"],
            "currency": invoice["currency"],
            "tranDate": on,
            "payment": amount,
            "memo": reference or f"Payment of {invoice.get('tranId', invoice_id)}",
            "apply": [{"doc": invoice_id, "amount": amount, "apply": True}],
        }
        return self._enter("customerPayment", body)

    def credit_invoice(self, invoice_id: str, line: str | int, quantity: str, on: str, reference: str = "") -> Row:
        """Credit part of one line at its rate, with tax in proportion; post it and apply it to the invoice.

        line       our line key, or the line's number
        quantity   in the line's unit: hours for time
        reference  with the same one again nothing happens twice
        """
        invoice = self._there("invoice", invoice_id)
        known = self._known("creditMemo", reference)
        if known is not None:
            return known
        credited = self._line(invoice, line)
        symbol = invoice["_symbol"]
        share = Decimal(quantity)
        exact = share * Decimal(credited.get("rate") or Decimal(credited["amount"]) / Decimal(credited["quantity"]))
        net = round_money(exact, symbol)
        tax = round_money(Decimal(invoice["taxTotal"]) * net / Decimal(invoice["subtotal"]), symbol)
        applied = min(net + tax, Decimal(invoice["amountRemaining"]))
        copied = ("entity", "subsidiary", "currency", "job", "custbody_trueup_contract", "custbody_trueup_period")
        body: Row = {name: invoice[name] for name in copied if name in invoice}
        kept = {name: value for name, value in credited.items() if name not in ("line", "quantity", "amount")}
        body |= {
            "createdFrom": invoice_id,
            "tranDate": on,
            "memo": reference or f"Credit of {invoice.get('tranId', invoice_id)}",
            "taxTotal": str(tax),
            "item": [kept | {"quantity": quantity, "amount": str(net)}],
            "apply": [{"doc": invoice_id, "amount": str(applied), "apply": True}] if applied else [],
        }
        return self._enter("creditMemo", body)

    def raise_line(self, invoice_id: str, line: str | int, by: str) -> Row:
        """Raise one line of an invoice on the screen, approved or not; the tax stays as it was given."""
        invoice = self._there("invoice", invoice_id)
        wanted = self._line(invoice, line)["line"]
        lines = [
            item | {"amount": str(Decimal(item["amount"]) + Decimal(by))} if item["line"] == wanted else item
            for item in invoice["item"]
        ]
        return self.edit("invoice", invoice_id, {"item": lines})

    def close_period(self, month: str, subsidiary: str = "") -> None:
        """Close a month's period for a subsidiary (its id or code), or for all: nothing dated in it can change."""
        self._period(month, subsidiary, closed=True)

    def reopen_period(self, month: str, subsidiary: str = "") -> None:
        """Open a month's period again."""
        self._period(month, subsidiary, closed=False)

    def _period(self, month: str, subsidiary: str, *, closed: bool) -> None:
        row = self._there("accountingPeriod", month.replace("-", ""))
        every = self.store.table("subsidiary")
        ids = {id for id, one in every.items() if subsidiary in ("", id, one["tranPrefix"])}
        if not ids:
            raise ValueError(f"there is no subsidiary {subsidiary}")
        left = set(row["_closed_for"]) | ids if closed else set(row["_closed_for"]) - ids
        new = row | {"_closed_for": sorted(left), "closed": left == set(every)}
        self._keep("accountingPeriod", new, "edit")

    def _line(self, invoice: Row, line: str | int) -> Row:
        for item in invoice["item"]:
            if line in (item["line"], item.get("custcol_trueup_line")):
                return dict(item)
        raise ValueError(f"the invoice {invoice['id']} has no line {line}")

    def _known(self, kind: str, reference: str) -> Row | None:
        rows = self.store.table(kind).values() if reference else ()
        return next((row for row in rows if row.get("memo") == reference), None)

    def _there(self, kind: str, id: str) -> Row:
        row = self.store.table(kind).get(id)
        if row is None:
            raise ValueError(f"there is no {kind} {id}")
        return row

    def _typed(self, kind: str, body: Mapping[str, Any]) -> Row:
        """Read what a person typed."""
        reader = Reader(self._exists, people=True)
        external = {"externalId": body["externalId"]} if "externalId" in body else {}
        rest = {name: value for name, value in body.items() if name != "externalId"}
        return _by_hand(lambda: reader.body(self._type(kind).fields, rest)) | external

    def _enter(self, kind: str, body: Mapping[str, Any], new_id: str = "") -> Row:
        values = self._typed(kind, body)
        return _by_hand(lambda: self._save(kind, None, values, people=True, replace=frozenset(), new_id=new_id))

    # --- saving --------------------------------------------------------------------------------------------------

    def _save(
        self, kind: str, id: str | None, values: Row, *, people: bool, replace: frozenset[str], new_id: str = ""
    ) -> Row:
        """Create or change a record after the rules of its type.

        people   a person does it on a screen
        replace  sublists whose lines are replaced; lines are added to the others
        new_id   the id a person's row brings along
        """
        spec = self._type(kind)
        old = self.store.table(kind).get(id, {}) if id is not None else {}
        row = merge({**spec.fields, "externalId": Field()}, old, values, replace)
        self._own_key(spec, row)
        demand(spec.fields, row)
        if old:
            self._may_change(spec, old, row, people=people)
        else:
            row["id"] = new_id or str(self.store.next_number(spec.family, FIRST_IDS[spec.family]))
        if spec.family == "transaction":
            self._post(kind, old, row, people=people)
        elif spec.family == "entity":
            self._enlist(kind, row)
        return self._keep(kind, row, "edit" if old else "create")

    def _own_key(self, spec: RecordType, row: Row) -> None:
        """Refuse an external id that is malformed or taken by another record of the family."""
        if row.get("externalId") is None:
            return
        self._external(row["externalId"], "externalId")
        if self._owners.get((spec.family, row["externalId"]), (spec.name, row.get("id"))) != (spec.name, row.get("id")):
            text = "This record already exists: another record has this external ID."
            raise refuse("USER_ERROR", text, path="externalId")

    def _may_change(self, spec: RecordType, old: Row, new: Row, *, people: bool) -> None:
        for name, field in spec.fields.items():
            if field.fixed and name in old and old[name] != new.get(name):
                raise refuse("USER_ERROR", f"The field {name} cannot be changed once the record exists.", path=name)
        if spec.name == "invoice" and not people:
            if old["approvalStatus"] != new["approvalStatus"]:
                raise refuse("USER_ERROR", "Only an approver can change the approval status.", path="approvalStatus")
            if old["approvalStatus"] == "2" and (changed := differs(old, new)):
                text = "This transaction has been approved and its amounts cannot be edited."
                raise refuse("USER_ERROR", text, path=changed[0])
        if spec.name in ("creditMemo", "customerPayment") and differs(old, new):
            raise refuse("USER_ERROR", "This transaction has been posted and cannot be edited. Delete it.")

    def _enlist(self, kind: str, row: Row) -> None:
        """Give an entity its number; a number names one entity only."""
        if "entityId" not in row:
            name = " ".join(str(row[part]) for part in ("firstName", "lastName") if part in row)
            row["entityId"] = name or f"{kind[0].upper()}{self.store.next_number(f'entity/{kind}', 10001)}"
        if any(
            other["entityId"] == row["entityId"] and other["id"] != row["id"]
            for other in self.store.table(kind).values()
        ):
            raise refuse("USER_ERROR", f"This entity already exists: {row['entityId']}.", path="entityId")
        if kind == "customer":
            row.setdefault("creditHoldOverride", "AUTO")
            every = sorted(self.store.table("subsidiary")) if self.shared_customers else []
            row["_subsidiaries"] = sorted({row["subsidiary"], *every})
        row.setdefault("isInactive", False)

    def _post(self, kind: str, old: Row, row: Row, *, people: bool) -> None:
        """Apply the ledger's rules to a transaction that is about to be saved."""
        if not old and kind == "invoice":
            if row.setdefault("approvalStatus", "1") != "1" and not people:
                text = "An invoice is created pending approval; only an approver can approve it."
                raise refuse("USER_ERROR", text, path="approvalStatus")
            row["approvalStatus"] = "1"
            row["status"] = "Pending Approval"
        self.books.place(kind, row)
        if kind != "salesOrder":
            period = self.books.period(row)
            if old and old["tranDate"] != row["tranDate"]:
                self.books.period(old)
            if kind != "invoice" or row["approvalStatus"] == "2":
                row["postingPeriod"] = period
        self.books.total(kind, row)
        if not old and kind in ("creditMemo", "customerPayment"):
            self.books.may_apply(kind, row)
        if not old and kind != "invoice":
            row["tranId"] = self.books.number(kind, row)
        if kind == "salesOrder":
            row["status"] = "Pending Billing"
        elif kind == "journalEntry":
            row |= {"status": "Approved for Posting", "approved": True}
        elif kind == "customerPayment":
            row["status"] = "Not Deposited"
        elif kind == "creditMemo":
            row["status"] = "Open" if Decimal(row["unapplied"]) else "Fully Applied"
        if not old:
            self._apply(row, 1)

    def _apply(self, row: Row, sign: int) -> None:
        """Let the applications of a payment or credit count, or stop counting."""
        for id, amount in self.books.applications(row):
            invoice = dict(self.store.table("invoice")[id])
            self.books.settle(invoice, amount * sign)
            self._keep("invoice", invoice, "edit")

    def _drop(self, kind: str, id: str) -> None:
        row = self.store.table(kind)[id]
        for other in TYPES.values():
            for one in self.store.table(other.name).values():
                if (other.name, one["id"]) != (kind, id) and _points_to(other.fields, one, kind, id):
                    text = "This record cannot be deleted because it has dependent records."
                    raise refuse("USER_ERROR", f"{text} {other.name} {one['id']} refers to it.")
        if TYPES[kind].family == "transaction" and kind != "salesOrder":
            self.books.period(row)
        self._forget_key(kind, id)
        self.store.delete(kind, id)
        if kind in ("creditMemo", "customerPayment"):
            self._apply(row, -1)
        self._call_hub(TYPES[kind], row, "delete", self._now())

    def _keep(self, kind: str, row: Row, event: str) -> Row:
        """Stamp and write a row, and let the User Event script call the hub."""
        row = dict(row)
        row["lastModifiedDate"] = self._now()
        row.setdefault("createdDate", row["lastModifiedDate"])
        self._forget_key(kind, row["id"])
        if row.get("externalId"):
            self._owners[TYPES[kind].family, row["externalId"]] = (kind, row["id"])
        self.store.put(kind, row["id"], row)
        self._call_hub(TYPES[kind], row, event, row["lastModifiedDate"])
        return row

    def _forget_key(self, kind: str, id: str) -> None:
        external = self.store.table(kind).get(id, {}).get("externalId")
        if external:
            self._owners.pop((TYPES[kind].family, external), None)

    def _call_hub(self, spec: RecordType, row: Row, event: str, at: str) -> None:
        if spec.announced:
            body = {"recordType": spec.name, "id": row["id"], "externalId": row.get("externalId")}
            self.announce(body | {"type": event, "at": at})

    def _now(self) -> str:
        """Return the present second: NetSuite's stamps have no fractions, so two quick changes share one."""
        return self.store.stamp().strftime(STAMP)

    # --- looking up ----------------------------------------------------------------------------------------------

    def _type(self, kind: str) -> RecordType:
        if kind not in TYPES:
            raise refuse("NONEXISTENT_RECORD_TYPE", f"The record type {kind} does not exist.", status=404)
        return TYPES[kind]

    def _exists(self, kind: str, id: str) -> bool:
        return id in self.store.table(kind)

    def _external(self, key: str, path: str) -> str:
        if not key or not _KEY_LETTERS.issuperset(key):
            text = "An external ID has letters, digits, underscore and hyphen only."
            raise refuse("INVALID_CONTENT" if path else "INVALID_REQUEST", text, path=path)
        return key

    def _by_external(self, kind: str, external: str) -> Row | None:
        owner, id = self._owners.get((TYPES[kind].family, external), ("", ""))
        return self.store.table(kind)[id] if owner == kind else None


def _by_hand(do: Callable[[], Done]) -> Done:
    """Do what a person does on a screen; a refusal is what the screen says."""
    try:
        return do()
    except Reject as no:
        raise ValueError(reason(no)) from no


def _points_to(fields: Mapping[str, Field], row: Row, kind: str, id: str) -> bool:
    return any(
        (field.kind == "ref" and field.to == kind and row.get(name) == id)
        or (field.kind == "lines" and any(_points_to(field.lines, line, kind, id) for line in row.get(name, ())))
        for name, field in fields.items()
    )
