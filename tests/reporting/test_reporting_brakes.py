"""A brake over real tables: an invoice out of bounds waits for a person, and is made once he has released it."""

from dataclasses import replace

import small_firm
from trueup.billing.brakes import Bounds
from trueup.processes import brakes, dry_run, time_to_billing
from trueup.store import changes, holds
from trueup.store.changes import Event

COUNT = "select count(*) from objects where kind = 'invoice' and body ->> 'code' = 'X01-DE01-2026-09'"


def test_a_braked_invoice_waits_and_a_release_makes_it_once(house):
    tight = replace(house.firm.entities["DE01"], bounds=Bounds(minutes_a_day=200))
    house.firm = replace(house.firm, entities={"DE01": tight})
    small_firm.hear(house, "timely", "entry", small_firm.entry("e20", 240, day="2026-09-02"))
    assert dry_run.preview(house, "2026-09", "DE01")["invoices"] == []
    time_to_billing.bill(house, "2026-09", "DE01", "test")
    with house.database.transaction() as tx:
        [hold] = holds.open_of(tx, codes=["BRAKE"])
        assert tx.value(COUNT) == 0
        assert hold["scope"] == "X01-DE01-2026-09"
        assert "has 240 minutes of work; a day has 200." in hold["reason"]
        assert (hold["amount"], hold["owner"]) == (6_000_000 * 100, "controller")
        holds.release(tx, [hold["number"]], "Ines Holt", "the two shifts were agreed")
    made = brakes.bill_released(house, hold["number"], "test")
    assert (made["invoices"], made["net"]) == (1, {"EUR": "600.00"})
    assert brakes.bill_released(house, hold["number"], "test")["already"] == "done"
    with house.database.transaction() as tx:
        assert tx.value(COUNT) == 1
        assert holds.open_of(tx, codes=["BRAKE"]) == []


def test_a_release_starts_the_making_in_its_own_transaction(house):
    with house.database.transaction() as tx:
        event = Event("hold.released/77", "hold.released", "X09-DE01-2026-08", "draft", {"code": "BRAKE"})
        house.react(tx, changes.tell(tx, [event]))
        assert tx.value("select count(*) from dbos.workflow_status where workflow_uuid = 'braked_invoice/77'") == 1
