"""Whatever was worked, billed, posted and credited, every document adds up at every level, in money and in minutes."""

from dataclasses import replace
from decimal import Decimal
from itertools import count

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import small_firm
from trueup.billing.brakes import Bounds
from trueup.pipeline import edition
from trueup.pipeline.house import Package
from trueup.processes import opportunity_to_project, time_to_billing
from trueup.reporting.explain import explain
from trueup.store import migrate
from trueup.store.database import Database

FIRMS = count(1)


class Kept:
    """Holds the house, and does not write all of it out when a case fails."""

    def __init__(self, house):
        self.house = house


TERMS = (
    "      cap: {money: cap, currency: currency, optional: true}\n"
    "      monthly_fee: {money: fee, currency: currency, optional: true}\n"
    "      included_hours: {number: included, optional: true}\n"
    "      overage_rate: {money: overage, currency: currency, optional: true}\n"
)
CREDIT = """
mapping: ledgerly.note -> invoice
key: id
stamp: at
fields:
  code: {text: id}
  number: {text: id}
  invoice_type: {const: credit}
  corrects: {ref: bill, object: bill}
  currency: {upper: currency}
  invoice_date: {day: day}
  net: {money: net, currency: currency}
  tax: {money: tax, currency: currency}
  gross: {money: gross, currency: currency}
  lines:
    each: lines
    fields:
      key: {text: key}
      description: {text: key}
      quantity: {number: quantity}
      unit: {text: unit}
      rate: {money: rate, currency: /currency}
      net: {money: net, currency: /currency}
  status: {const: posted}
version: 1
why: a test's own words
"""


@pytest.fixture(scope="module")
def house(database_url):
    """A small firm that sells capped work and retainers, and whose ERP writes credits."""
    migrate.migrate(database_url)
    database = Database(database_url).open()
    built = small_firm.build(database)
    deal = built.inward[("dealer", "deal")]
    anchor = "      markup_share: {share: markup, optional: true}\n"
    built.inward[("dealer", "deal")] = small_firm.load_mapping(deal.source.replace(anchor, anchor + TERMS))
    built.inward[("ledgerly", "note")] = small_firm.load_mapping(f"{CREDIT.strip()}\n{small_firm.EXAMPLE}\n")
    reads = built.systems["ledgerly"].connector.manifest.reads
    reads["note"] = reads["bill"]
    packages = dict(built.firm.packages)
    packages["ADV-RT"] = Package("ADV-RT", "Retainer", "Advisory", "Consulting", frozenset({"retainer"}), "ratable")
    # One person works for every generated deal, so a day of hers has more hours than any brake lets pass.
    calm = {
        code: replace(entity, bounds=Bounds(minutes_a_day=None, times_mean=None))
        for code, entity in built.firm.entities.items()
    }
    built.firm = replace(built.firm, packages=packages, entities=calm)
    with database.transaction() as tx:
        edition.keep(tx, built, small_firm.default_ownership())
    small_firm.hear(
        built, "dealer", "account",
        {"id": "a1", "name": "Fjord Energi", "country": "de", "vat": "DE1", "currency": "EUR", "terms": 30},
    )  # fmt: skip
    small_firm.hear(
        built, "folks", "worker",
        {"id": "w1", "number": "1001", "name": "Ida Holm", "email": "ida.holm@small.example", "entity": "DE01",
         "role": "Consultant", "hired": "2024-01-01", "hours": 40},
    )  # fmt: skip
    yield built
    for system in built.systems.values():
        system.client.close()
    database.close()


@pytest.fixture(scope="module")
def kept(house):
    """The house, for generated cases."""
    return Kept(house)


entries = st.lists(
    st.tuples(st.integers(1, 600), st.integers(1, 28), st.sampled_from(["Consultant", "Expert"])),
    min_size=1,
    max_size=8,
)
spending = st.lists(st.tuples(st.integers(1, 99_999), st.integers(1, 28)), max_size=3)
rates = st.decimals(Decimal("20.00"), Decimal("400.00"), places=2)
credits = st.tuples(st.integers(0, 7), st.integers(1, 100))


@settings(max_examples=12, phases=[Phase.explicit, Phase.generate])
@given(
    st.sampled_from(["time_and_materials", "retainer"]), entries, entries, spending, rates, rates,
    st.sampled_from([None, "500.00", "3000.00"]), st.lists(credits, max_size=3),
)  # fmt: skip
def test_every_document_adds_up_at_every_level(kept, method, first, second, spent, rate, other, cap, taken):
    house = kept.house
    code = f"H{next(FIRMS):02d}"
    project = f"{code}-DE01"
    line = {"key": f"{code}-L1", "package": "ADV-TM", "method": "time_and_materials", "amount": 9000, "cap": cap}
    if method == "retainer":
        line = {"key": f"{code}-L1", "package": "ADV-RT", "method": "retainer", "amount": 9000, "fee": "1999.99",
                "included": "7.25", "overage": str(other)}  # fmt: skip
    travel = {"key": f"{code}-L2", "package": "TRAVEL", "method": "pass_through", "amount": 1000, "markup": 7}
    small_firm.hear(house, "dealer", "deal", small_firm.deal(code, "a1", [line, travel]))
    prices = [
        {"id": f"p-{code}-{role}", "deal": f"d-{code}", "role": role, "rate": str(price), "currency": "EUR",
         "from": "2026-01-01"}
        for role, price in (("Consultant", rate), ("Expert", other))
    ]  # fmt: skip
    small_firm.hear(house, "dealer", "price", *prices)
    opportunity_to_project.set_up(house, small_firm.gid_of(house, "contract", code), f"opportunity_to_project/{code}")
    small_firm.carry_out(house)
    for month, worked in (("2026-08", first), ("2026-09", second)):
        rows = [
            small_firm.entry(f"{code}-{month}-{n}", minutes, project=project, day=f"{month}-{day:02d}", role=role)
            for n, (minutes, day, role) in enumerate(worked)
        ]
        small_firm.hear(house, "timely", "entry", *rows)
        bought = [
            {"line": n + 1, "project": project, "day": f"{month}-{day:02d}", "category": "Hotel", "currency": "EUR",
             "amount": str(Decimal(cents) / 100), "billable": True, "receipt": True}
            for n, (cents, day) in enumerate(spent)
        ]  # fmt: skip
        if bought:
            report = {"report": f"{code}-{month}", "who": "ida.holm@small.example", "lines": bought}
            small_firm.hear(house, "purse", "report", report)
        run_again(house, month)
        small_firm.carry_out(house)
    documents = invoices(house, project)
    assert documents
    for number, (place, percent) in enumerate(taken):
        credit(house, documents[number % len(documents)], f"{code}-CN{number}", place, percent)
    for gid in [*documents, *invoices(house, None)]:
        adds_up(house, gid)


def test_credits_were_among_the_documents(house):
    assert len(invoices(house, None)) >= 3


def run_again(house, month):
    """Bill a month once more: every generated deal has runs of its own."""
    with house.database.transaction() as tx:
        tx.run("update runs set run = run || '/' || created_at::text where run = %s", (f"{month}/DE01/billing",))
    time_to_billing.bill(house, month, "DE01", f"billing_run/{month}/DE01")


def invoices(house, project):
    """Return the invoices of a project, or every credit when none is named."""
    with house.database.transaction() as tx:
        if project is None:
            rows = tx.rows("select gid from objects where kind = 'invoice' and body ->> 'invoice_type' = 'credit'")
        else:
            rows = tx.rows(
                "select i.gid from objects i join objects p on p.gid = i.body ->> 'project' "
                "where i.kind = 'invoice' and p.body ->> 'code' = %s order by i.body ->> 'code'",
                (project,),
            )
        return [row["gid"] for row in rows]


def credit(house, gid, name, place, percent):
    """Let the ERP post the invoice and take back a part of one line, in whole minutes where it is about time."""
    with house.database.transaction() as tx:
        found = explain(tx, gid)
        line = found.lines[place % len(found.lines)]
        credited = tx.value(
            "select count(*) from allocations a join allocations b on b.charge = a.charge and b.amount < 0 "
            "where a.document = %s and a.line_key = %s",
            (gid, line.key),
        )
    if line.net <= 0:
        return
    number = f"N-{found.code}"
    posted = {"id": "bill-" + gid[-4:], "at": "2", "external": gid, "number": number, "status": "posted",
              "posted": "2026-10-01", "currency": "EUR", "net": str(found.net), "tax": str(found.tax),
              "gross": str(found.gross), "open": str(found.gross)}  # fmt: skip
    small_firm.hear(house, "ledgerly", "bill", posted)
    hours = line.unit == "hour"
    minutes = int(line.quantity * 60) * percent // 100
    net = (Decimal(minutes) * line.rate / 60 if hours else line.net * percent / 100).quantize(Decimal("0.01"))
    if net <= 0 or credited:
        return
    quantity = format((Decimal(minutes) / 60).quantize(Decimal("0.0001")), "f") if hours else "1"
    row = {"key": line.key, "quantity": quantity, "unit": line.unit, "rate": str(line.rate or net), "net": str(net)}
    note = {"id": name, "at": "1", "bill": posted["id"], "currency": "EUR", "day": "2026-10-05", "net": str(net),
            "tax": "0.00", "gross": str(net), "lines": [row]}  # fmt: skip
    small_firm.hear(house, "ledgerly", "note", note)


def adds_up(house, gid):
    """Check one document: total, lines, charges, allocations and minutes."""
    with house.database.transaction() as tx:
        found = explain(tx, gid)
        stands = {
            row["line_key"]: row
            for row in tx.rows(
                "select line_key, sum(amount)::bigint as amount, sum(minutes)::bigint as minutes from allocations "
                "where document = %s group by line_key",
                (gid,),
            )
        }
        over = tx.value(
            "select count(*) from (select charge from allocations group by charge having sum(amount) < 0) x"
        )
    assert over == 0
    sign = -1 if found.invoice_type == "credit" else 1
    assert found.net + found.tax == found.gross
    assert sum(line.net for line in found.lines) == found.net
    for line in found.lines:
        assert sum(charge.amount for charge in line.charges) == sign * line.net
        assert Decimal(stands[line.key]["amount"]) / 1_000_000 == sign * line.net
        if line.unit == "hour":
            behind = sum(charge.minutes or 0 for charge in line.charges)
            assert behind == stands[line.key]["minutes"]
            assert line.minutes.holds, (line.minutes, line.quantity)
    if sign == 1:
        # What the ERP says is open is not told again after a credit here: that sum is the ERP's to make good.
        assert [one for one in found.checks if not one.holds and "ERP" not in one.name] == []
