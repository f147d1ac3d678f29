"""What a billing run reads: with terms in the workspace, also what is used of their limits."""

from datetime import date
from decimal import Decimal

from trueup.billing.run import plan_run
from trueup.billing.terms import PurchaseOrder, Terms
from trueup.pipeline.house import Firm, FxRate, LegalEntity, ListLine
from trueup.processes.facts import run_facts
from trueup.store.database import Database


def test_a_run_of_a_firm_with_terms_reads_empty_tables_as_empty_facts(database: Database) -> None:
    firm = Firm(
        "X",
        {"DE01": LegalEntity("DE01", "X", "DE", "EUR", frozenset({"DE"}))},
        {},
        {},
        terms={("defaults", ""): Terms("some", po_required=True, purchase_orders=(PurchaseOrder("4711", Decimal(1)),))},
        list_rates=(ListLine("card:1", "Consultant", None, "EUR", Decimal(150), date(2026, 1, 1), None),),
        fx_rates=(FxRate(date(2026, 8, 3), "CHF", "EUR", Decimal("1.0602"), "bank"),),
    )
    with database.transaction() as tx:
        facts = run_facts(tx, firm, "DE01", date(2026, 8, 31), "2026-08")
    assert facts.rates["tier"].to_list() == ["list"]
    assert plan_run(facts, date(2026, 8, 31), "2026-08").charges.is_empty()
