"""Hours of a retainer roll over, and part of a milestone is kept back until the client signs; over the real database."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import laws

from small_firm import gid_of, hear
from trueup.billing.terms import RollOver, Terms
from trueup.kernel.money import from_units
from trueup.pipeline.ingest import author
from trueup.processes import milestone_billing
from trueup.store import objects


def agree(office, **terms):
    office.house.firm = replace(office.house.firm, terms={("defaults", ""): Terms("test", **terms)})


def retainer(office, code):
    """Turn a deal's main line into a retainer: 10,000.00 a month for 50 h, 220.00 beyond (S10)."""
    office.deal(code, 200)
    gid = gid_of(office.house, "contract", code)
    with office.database.transaction() as tx:
        lines = objects.one(tx, gid).body["lines"]
        lines[0] |= {
            "billing_method": "retainer", "monthly_fee": "10000.00", "included_hours": "50", "overage_rate": "220.00",
        }  # fmt: skip
        said = {"lines": lines, "starts_on": date(2026, 1, 1)}
        author(tx, office.house, [("contract", gid, said)], role="crm", actor="dealer")


def nets(office, kind):
    with office.database.transaction() as tx:
        rows = tx.rows("select period, sum(amount)::bigint as net from charges where kind = %s group by 1", (kind,))
    return {row["period"]: f"{from_units(row['net'], 'EUR'):.2f}" for row in rows}


def work(office, month, hours):
    """Work so many hours in a month, a day's worth at a time."""
    for day in range(1, 29):
        minutes = min(hours * 60 - (day - 1) * 240, 240)
        if minutes > 0:
            office.work(f"{month}-{day}", minutes, day=f"{month}-{day:02d}")


def test_hours_that_were_not_used_cover_the_next_month_and_what_is_beyond_is_overage(office):
    retainer(office, "X01")
    agree(office, roll_over=RollOver(1, 20 * 60))
    for month, hours in (("2026-01", 42), ("2026-02", 61), ("2026-03", 45), ("2026-04", 30), ("2026-05", 71)):
        work(office, month, hours)
        office.run(month)
    assert nets(office, "fee") == {f"2026-{month:02d}": "10000.00" for month in range(1, 6)}
    # 8 h of January cover February's 58th; April rolls 20 of its 25 left, so May covers 70 of 71.
    assert nets(office, "overage") == {"2026-02": "660.00", "2026-05": "220.00"}
    with office.database.transaction() as tx:
        trace = tx.value("select trace::text from charges where kind = 'overage' and period = '2026-02' limit 1")
    assert laws.broken(office.database) == {}
    assert '"rolled_minutes": 480' in trace.replace(":480", ": 480")


def test_without_an_agreement_hours_expire_with_their_month(office):
    retainer(office, "X01")
    agree(office)
    for month, hours in (("2026-01", 42), ("2026-02", 61)):
        work(office, month, hours)
        office.run(month)
    assert nets(office, "overage") == {"2026-02": "2420.00"}


def milestone(office):
    gid = gid_of(office.house, "milestone", "X01-M1")
    hear(office.house, "timely", "goal", {"id": "g-X01", "ref": gid, "done": "2026-08-20"})
    milestone_billing.bill(office.house, gid, "milestone_billing/X01")
    return gid


def state(office, gid):
    with office.database.transaction() as tx:
        lies = tx.rows("select bucket, quantity from buckets where fact = %s and quantity > 0", (gid,))
        held = tx.rows("select code, amount from holds where scope = %s and released_at is null", (gid,))
        invoices = {held.body["code"]: held.body["net"] for held in objects.of_kind(tx, "invoice")}
    assert laws.broken(office.database) == {}
    money = {row["bucket"]: from_units(row["quantity"], "EUR") for row in lies}
    return invoices, money, {row["code"]: from_units(row["amount"], "EUR") for row in held}


def test_what_is_kept_back_of_a_milestone_waits_for_the_signature_and_the_rest_does_not(office):
    office.deal("X01", 0, method="fixed_fee", goal=36000)
    agree(office, retention_share=Decimal("0.10"))
    gid = milestone(office)
    waits = ({"X01-M1": "32400.00"}, {"on_draft": 32400, "held": 3600}, {"SIGNOFF_MISSING": 3600})
    assert state(office, gid) == waits
    milestone_billing.bill(office.house, gid, "milestone_billing/again")
    assert state(office, gid) == waits
    with office.database.transaction() as tx:
        author(
            tx, office.house, [("milestone", gid, {"accepted_on": date(2026, 9, 10)})], role="crm", actor="dealer"
        )  # fmt: skip
    milestone_billing.bill(office.house, gid, "milestone_billing/signed")
    signed = ({"X01-M1": "32400.00", "X01-M1-R": "3600.00"}, {"on_draft": 36000}, {})
    assert state(office, gid) == signed
    milestone_billing.bill(office.house, gid, "milestone_billing/signed again")
    assert state(office, gid) == signed
