"""Lent people over real tables: charged once, and held where a price or a rate of exchange is missing."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import small_firm
from trueup.pipeline.house import FxRate, LegalEntity, TransferPrice
from trueup.processes import intercompany, time_to_billing
from trueup.store import holds

PRICE = TransferPrice("UK01", "DE01", "cost_plus", Decimal("0.1"), date(2026, 1, 1))
WORKER = {
    "id": "w2", "number": "1002", "name": "Ann Reed", "email": "ann.reed@small.example", "entity": "UK01",
    "role": "Consultant", "hired": "2024-01-01", "hours": 40,
}  # fmt: skip


def test_lent_time_is_charged_once_in_both_currencies_and_held_without_a_rate(house):
    uk = LegalEntity("UK01", "Small Ltd", "GB", "GBP", frozenset({"GB"}))
    house.firm = replace(house.firm, entities={**house.firm.entities, "UK01": uk})
    small_firm.hear(house, "folks", "worker", WORKER)
    small_firm.hear(
        house, "folks", "pay", {"id": "c2", "worker": "w2", "rate": 80, "currency": "GBP", "from": "2026-01-01"}
    )
    lent = small_firm.entry("e50", 600, who="ann.reed@small.example", day="2026-09-02")
    small_firm.hear(house, "timely", "entry", lent)
    assert intercompany.charge(house, "2026-09") == {"charged": 0, "new": 0, "held": 0, "pairs": []}
    time_to_billing.bill(house, "2026-09", "DE01", "test")
    for known, code in [((), "ENTITY_UNMAPPED"), ((PRICE,), "CURRENCY_MISMATCH")]:
        house.firm = replace(house.firm, transfer_prices=known)
        assert intercompany.charge(house, "2026-09")["held"] == 1
        with house.database.transaction() as tx:
            [hold] = [one for one in holds.open_of(tx) if one["scope_kind"] == "intercompany"]
            assert hold["code"] == code
    house.firm = replace(
        house.firm, fx_rates=(FxRate(date(2026, 9, 1), "GBP", "EUR", Decimal("1.17"), "European Central Bank"),)
    )
    done = intercompany.charge(house, "2026-09")
    assert (done["charged"], done["new"], done["held"]) == (1, 1, 0)
    [pair] = done["pairs"]
    assert (pair["lender"], pair["amount"], pair["currency"]) == ("UK01", "880.00", "GBP")
    assert (pair["borrower"], pair["amount_borrower"], pair["currency_borrower"]) == ("DE01", "1029.60", "EUR")
    assert intercompany.charge(house, "2026-09")["new"] == 0
    with house.database.transaction() as tx:
        assert [one for one in holds.open_of(tx) if one["scope_kind"] == "intercompany"] == []
        row = tx.row("select * from intercompany_charges")
    assert (row["fx_e9"], str(row["fx_on"]), row["vat_treatment"]) == (1_170_000_000, "2026-09-01", "outside_scope")


def test_a_run_is_queued_and_asking_again_is_another_run(house):
    with house.database.transaction() as tx:
        assert [intercompany.start(tx, "2026-09") for _ in range(2)] == [
            "intercompany_run/2026-09/1", "intercompany_run/2026-09/2",
        ]  # fmt: skip
