"""A firm with three legal entities and the verbs of its billing desk, over the real database; vendors are invented."""

import json
from dataclasses import replace
from datetime import date
from decimal import Decimal

import small_firm
from emptied import empty
from small_firm import gid_of, hear
from trueup.entrypoints.bootstrap import default_ownership
from trueup.governance import ownership
from trueup.pipeline.house import Firm, LegalEntity
from trueup.pipeline.ingest import author, ingest
from trueup.processes import milestone_billing, opportunity_to_project, time_to_billing
from trueup.store import inbox, ledger, objects
from trueup.store.inbox import Arrival
from trueup.store.numbers import Numbering

ENTITIES = {
    "DE01": ("DE", "EUR"),
    "UK01": ("GB", "GBP"),
    "US01": ("US", "USD"),
}


class Office:
    """The firm's desk: each verb is one thing a person or a system does."""

    def __init__(self, database):
        empty(database)
        self.house = small_firm.build(database)
        self.database = database
        packages = self.house.firm.packages
        entities = {
            code: LegalEntity(code, code, country, currency, frozenset({country}))
            for code, (country, currency) in ENTITIES.items()
        }
        self.house.firm = Firm("Office", entities, packages, {})
        self.stamps = 0
        self.entries = {}
        self.said = []
        self.numbered = False
        self.hear(
            "folks", "worker",
            {"id": "w1", "number": "1", "name": "Ida Holm", "email": "ida.holm@small.example", "entity": "DE01",
             "role": "Consultant", "hired": "2024-01-01", "hours": 40},
        )  # fmt: skip

    def close(self):
        """Let the vendors' clients go."""
        for system in self.house.systems.values():
            system.client.close()

    def hear(self, system, object_name, row):
        """Let a system say something, and remember it: any message may come again."""
        self.said.append((system, object_name, row))
        hear(self.house, system, object_name, row)

    def stamp(self):
        """Return a stamp later than all before."""
        self.stamps += 1
        return f"{self.stamps:09d}"

    def number(self, entity):
        """Let the hub number the documents of a legal entity from now on."""
        firm = self.house.firm
        numbering = replace(firm.entities[entity], numbering=Numbering(entity))
        self.house.firm = replace(firm, entities={**firm.entities, entity: numbering})
        hub_numbers = default_ownership().replace(
            "      number: erp\n      balance", "      number: hub\n      balance"
        )
        self.house.ownership = ownership.load(hub_numbers)
        self.numbered = True

    def deal(self, code, rate, entity="DE01", method="time_and_materials", cap=None, goal=None, price=None):
        """Sell a deal with one rate for consultants, and set its project up."""
        country, currency = ENTITIES[entity]
        self.hear(
            "dealer", "account",
            {"id": f"a-{entity}", "name": f"Client {entity}", "country": country, "vat": f"{country}1", "currency": currency,
             "terms": 30},
        )  # fmt: skip
        package = "ADV-TM" if method == "time_and_materials" else "DATA-FF"
        line = {
            "key": f"{code}-L1", "package": package, "method": method, "amount": price or cap or 100000, "currency": currency,
            "entity": entity,
        }  # fmt: skip
        travel = {
            "key": f"{code}-L2", "package": "TRAVEL", "method": "pass_through", "amount": 1000, "markup": 5,
            "currency": currency, "entity": entity,
        }  # fmt: skip
        row = small_firm.deal(code, f"a-{entity}", [line, travel] if method == "time_and_materials" else [line])
        self.hear("dealer", "deal", {**row, "currency": currency, "at": self.stamp()})
        if method == "time_and_materials":
            self.rate(code, rate, currency=currency)
        if goal:
            self.hear(
                "dealer", "goal",
                {"code": f"{code}-M1", "deal": f"d-{code}", "line": f"{code}-L1", "name": "Live", "sequence": 1,
                 "amount": goal, "currency": currency, "sign": False},
            )  # fmt: skip
        if cap is not None:
            gid = gid_of(self.house, "contract", code)
            with self.database.transaction() as tx:
                lines = objects.one(tx, gid).body["lines"]
                lines[0]["cap"] = str(cap)
                author(tx, self.house, [("contract", gid, {"lines": lines})], role="crm", actor="dealer")
        opportunity_to_project.set_up(
            self.house, gid_of(self.house, "contract", code), f"opportunity_to_project/{code}"
        )
        small_firm.carry_out(self.house)

    def rate(self, code, rate, currency="EUR", since="2026-01-01", key="p", role="Consultant"):
        """Say what an hour costs from a day on; the same key changes the line."""
        self.hear(
            "dealer", "price",
            {"id": f"{key}-{code}", "deal": f"d-{code}", "role": role, "rate": rate, "currency": currency,
             "from": since, "at": self.stamp()},
        )  # fmt: skip

    def work(self, key, minutes, project="X01-DE01", day="2026-08-05", **more):
        """Log or correct an entry; approved unless said otherwise. Returns its identifier."""
        row = small_firm.entry(key, minutes, project=project, day=day, at=self.stamp(), **more)
        self.hear("timely", "entry", row)
        with self.database.transaction() as tx:
            gid = tx.value(
                "select gid from crosswalk where system = 'timely' and object = 'entry' and external_id = %s", (key,)
            )
        self.entries[key] = str(gid)
        return str(gid)

    def delete(self, key):
        """Let the entry be gone at its system."""
        row = {"id": key, "at": self.stamp()}
        word = Arrival("entry", key, row["at"], json.dumps(row).encode(), deleted=True)
        with self.database.transaction() as tx:
            inbox.keep(tx, "timely", [word], origin="poll", lane="volume")
        while ingest(self.house, "volume"):
            pass

    def run(self, month="2026-08", entity="DE01"):
        """Bill a month."""
        return time_to_billing.bill(self.house, month, entity, f"billing_run/{month}/{entity}")

    def milestone(self, code, done="2026-08-20"):
        """Complete a milestone and bill it."""
        gid = gid_of(self.house, "milestone", f"{code}-M1")
        self.hear("timely", "goal", {"id": f"g-{code}", "ref": gid, "done": done})
        return milestone_billing.bill(self.house, gid, f"milestone_billing/{code}")

    def say(self, code, **values):
        """Let the ERP say something of an invoice."""
        gid = gid_of(self.house, "invoice", code)
        with self.database.transaction() as tx:
            author(tx, self.house, [("invoice", gid, values)], role="erp", actor="ledgerly")

    def post(self, code):
        """Post an invoice."""
        own = {} if self.numbered else {"number": f"N-{code}"}
        self.say(code, status="posted", posted_on=date(2026, 8, 31), **own)

    def spend(self, report, amount, project="X01-DE01", day="2026-08-06"):
        """Send in an expense report of one line, or correct it. Returns its line's identifier."""
        line = {
            "line": 1, "project": project, "day": day, "category": "Hotel", "amount": amount, "currency": "EUR",
            "billable": True, "receipt": True,
        }  # fmt: skip
        row = {"report": report, "who": "ida.holm@small.example", "lines": [line], "at": self.stamp()}
        self.hear("purse", "report", row)
        with self.database.transaction() as tx:
            sql = "select gid from expense_lines where report = %s"
            self.entries[report] = str(tx.value(sql, (report,)))
        return self.entries[report]

    def erp_credit(self, code, line, minutes, net, number="CR-1"):
        """Let accounts receivable credit hours of one line in the ERP."""
        with self.database.transaction() as tx:
            gid = gid_of(self.house, "invoice", code)
            of = objects.one(tx, gid)
            values = {
                "code": number, "invoice_type": "credit", "corrects": gid, "currency": of.body["currency"],
                "legal_entity": of.body["legal_entity"], "contract": of.body["contract"], "invoice_date": "2026-09-14",
                "net": net, "tax": "0.00", "gross": net, "status": "posted",
                "lines": [{"key": line, "description": "Credit", "quantity": f"{Decimal(minutes) / 60:.4f}", "unit": "hour",
                           "net": net}],
            }  # fmt: skip
            own = {} if self.numbered else {"number": number}
            items = [("invoice", small_firm_gid(number), {**values, **own})]
            author(tx, self.house, items, role="erp", actor="ledgerly")

    def buckets(self, key):
        """Return what is where of an entry; `source` and nought left out."""
        with self.database.transaction() as tx:
            rows = tx.rows(
                "select bucket, quantity from buckets where fact = %s and quantity <> 0 and bucket <> 'source'",
                (self.entries.get(key, key),),
            )
        return {row["bucket"]: row["quantity"] for row in rows}

    def invoices(self):
        """Return code -> (type, status, net) of every document."""
        with self.database.transaction() as tx:
            return {
                one.body["code"]: (one.body["invoice_type"], one.status, Decimal(one.body["net"]))
                for one in objects.of_kind(tx, "invoice")
            }

    def invoice(self, code):
        """Return one document."""
        with self.database.transaction() as tx:
            return objects.one(tx, gid_of(self.house, "invoice", code))

    def billed(self):
        """Return what stands billed in all, net, by currency: documents that count, credits taken off."""
        sums = {}
        with self.database.transaction() as tx:
            for one in objects.of_kind(tx, "invoice"):
                if one.status != "voided":
                    sign = -1 if one.body["invoice_type"] == "credit" else 1
                    sums[one.body["currency"]] = sums.get(one.body["currency"], 0) + sign * Decimal(one.body["net"])
        return sums


def small_firm_gid(number):
    """Return the identifier of a credit of the ERP's own."""
    from trueup.kernel.ids import derive

    return derive("invoice", "ledgerly", number)


def filled(office):
    """Nine deals of six entries each; one is capped, one has an entry without a rate."""
    for n in range(9):
        office.deal(f"X{n:02d}", 100 + n, cap=450 if n == 4 else None)
        for m in range(6):
            more = {"role": "Analyst"} if n == 7 and m == 0 else {}
            office.work(f"e{n}-{m}", 60 + 7 * m + n, project=f"X{n:02d}-DE01", day=f"2026-08-{m + 3:02d}", **more)
    return office


def parted(office, size=10):
    """Let no worker hold more than so many entries."""
    office.house.firm = replace(office.house.firm, entries_per_part=size)
    return office


def run_row(office):
    """Return the row of the German August's run, or None."""
    with office.database.transaction() as tx:
        return ledger.run_of(tx, "2026-08/DE01/billing")
