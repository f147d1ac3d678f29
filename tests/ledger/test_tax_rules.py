"""What a firm says about tax decides what its invoices say, over the real database."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from small_firm import gid_of
from trueup.billing.run import plan_run
from trueup.billing.tax_rules import Answer, Service, State, TaxRules, Withholding
from trueup.kernel.periods import last_day
from trueup.pipeline.ingest import author
from trueup.processes import tax_facts
from trueup.processes.facts import run_facts
from trueup.store import objects

FRENCH = "FR40303265045"


def client(office, code, **values):
    """Say something of the customer of a deal, as its owners would."""
    with office.database.transaction() as tx:
        gid = objects.one(tx, gid_of(office.house, "contract", code)).body["customer"]
        number = {name: values.pop(name) for name in ("customer_number",) if name in values}
        for role, said in (("crm", values), ("erp", number)):
            if said:
                author(tx, office.house, [("customer", gid, said)], role=role, actor="desk")


def says(office, **rules):
    office.house.firm = replace(office.house.firm, tax=TaxRules(**rules))


def invoice(office, code):
    with office.database.transaction() as tx:
        return objects.one(tx, gid_of(office.house, "invoice", code)).body


def planned(office, entity="DE01", month="2026-08"):
    """Plan a month and touch nothing."""
    with office.database.transaction() as tx:
        return plan_run(run_facts(tx, office.house.firm, entity, last_day(month), month), last_day(month), month)


def holds(office, entity="DE01", month="2026-08"):
    found = planned(office, entity, month).holds.to_dicts()
    return {(row["code"], row["sentence"].partition(". ")[0]) for row in found}


def test_the_vat_id_of_a_client_abroad_is_checked_once_the_firm_has_a_tax_file(office):
    office.deal("X01", 150)
    client(office, "X01", country="FR", tax_id="FR1")
    office.work("e1", 60)
    assert holds(office) == set()
    says(office)
    assert holds(office) == {("VAT_ID_INVALID", "The VAT id FR1 is not one of FR")}
    client(office, "X01", tax_id=FRENCH)
    assert holds(office) == set()
    says(office, answers={FRENCH: Answer(False, date(2026, 8, 1))})
    assert holds(office) == {("VAT_ID_INVALID", "The register did not know the customer's VAT id")}
    says(office, answers={FRENCH: Answer(True, date(2026, 8, 1))})
    office.run()
    billed = invoice(office, "X01-DE01-2026-08")
    assert (billed["tax_treatment"], billed["tax"]) == ("reverse_charge", "0.00")
    assert billed["tax_reason"] == "reverse charge: the customer accounts for the VAT"
    assert billed["withheld"] is None


def test_a_service_that_is_bound_to_a_place_is_taxed_there_or_waits(office):
    office.deal("X01", 150)
    client(office, "X01", country="FR", tax_id=FRENCH)
    office.work("e1", 60)
    says(office, services={("package", "ADV-TM"): Service("event")})
    assert {code for code, _ in holds(office)} == {"TAX_UNDETERMINED"}
    says(office, services={("package", "ADV-TM"): Service("event", "FR")})
    assert holds(office) == {("TAX_UNDETERMINED", "This is taxed in FR, where DE is not registered")}
    says(office, services={("contract", "X01"): Service("event", "FR")}, registered_in={"DE01": ("FR",)})
    line = planned(office).invoice_lines.row(0, named=True)
    assert (line["tax_treatment"], line["tax_code"], line["tax_rate_ppm"]) == ("domestic_fr", "S", 200_000)
    assert line["tax_reason"] == "VAT of FR, standard rate"


@pytest.mark.parametrize("presence", [True, False])
def test_sales_into_a_state_or_people_there_make_liable_and_without_a_rate_the_bill_waits(office, presence):
    office.deal("X01", 600_000, entity="US01")
    client(office, "X01", region="TX")
    office.work("e1", 60, project="X01-US01")
    saas = {("package", "ADV-TM"): Service(code="saas")}
    says(office, services=saas)
    office.run(entity="US01")
    assert invoice(office, "X01-US01-2026-08")["tax_treatment"] == "domestic_us"
    if presence:
        says(office, services=saas, states={"US01": {"TX": State(presence=True)}})
    else:
        office.post("X01-US01-2026-08")
    with office.database.transaction() as tx:
        row = tax_facts.tracker(tx, office.house.firm, "US01", date(2026, 9, 30)).row(0, named=True)
    assert (row["state"], row["reason"]) == ("TX", "presence" if presence else "sales")
    office.work("e2", 60, project="X01-US01", day="2026-09-02")
    waiting = ("TAX_UNDETERMINED", "TX taxes saas, you are liable there, and no rate is set up")
    assert holds(office, "US01", "2026-09") == {waiting}
    says(office, services=saas, states={"US01": {"TX": State(presence, 82_500)}})
    office.run("2026-09", "US01")
    billed = invoice(office, "X01-US01-2026-09")
    # Texas taxes hosted software on 80 % of its price.
    assert (billed["tax_treatment"], Decimal(billed["tax_rate"])) == ("sales_tax_tx", Decimal("0.066"))
    assert billed["tax"] == "39600.00"


def test_work_of_before_a_change_of_rate_keeps_its_rate_on_a_document_of_its_own(office):
    office.deal("X01", 100)
    office.rate("X01", 100, since="2020-01-01")
    says(office)
    office.work("e1", 60, day="2020-12-31")
    office.work("e2", 60, day="2021-01-01")
    plan = planned(office, month="2021-01")
    assert {row["code"]: (row["tax_rate_ppm"], row["tax"] // 10_000) for row in plan.invoices.to_dicts()} == {
        "X01-DE01-2021-01": (190_000, 1_900),
        "X01-DE01-2021-01-T160": (160_000, 1_600),
    }


def test_what_a_client_withholds_is_expected_less_and_leaves_the_total_as_it_is(office):
    office.deal("X01", 1000)
    client(office, "X01", customer_number="C-7")
    says(
        office,
        withholding=(
            Withholding("DE01", None, Decimal("0.02"), "gross", date(2026, 1, 1)),
            Withholding("DE01", "C-7", Decimal("0.10"), "net", date(2026, 1, 1)),
            Withholding("DE01", "C-8", Decimal("0.50"), "net", date(2026, 1, 1)),
        ),
    )
    office.work("e1", 60)
    office.run()
    billed = invoice(office, "X01-DE01-2026-08")
    assert (billed["gross"], billed["withheld"]) == ("1190.00", "100.00")
