"""A workspace says what tax is decided by; a wrong file is refused with a sentence."""

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from trueup.billing.tax_rules import Answer, Service, State, TaxRules, Withholding
from trueup.entrypoints import bootstrap
from trueup.settings import SettingsError, load

TRUEUP = """
company: Small Firm
packages: {SAAS: {name: Hosted, billing_methods: [fixed_fee], revenue_method: as_invoiced}}
systems: {}
"""
ENTITY = "{code: US01, name: Small Inc., country: US, currency: USD, sells_to: [US]}"


def rules(folder: Path, text: str | None) -> TaxRules | None:
    (folder / "entities").mkdir()
    (folder / "trueup.yaml").write_text(TRUEUP)
    (folder / "entities" / "US01.yaml").write_text(ENTITY)
    if text is not None:
        (folder / "tax.yaml").write_text(text)
    return bootstrap.firm(load(folder, {})).tax


def test_a_workspace_that_says_nothing_about_tax_is_judged_by_the_general_rule(tmp_path: Path) -> None:
    assert rules(tmp_path, None) is None


def test_a_file_becomes_rules_with_exact_rates(tmp_path: Path) -> None:
    found = rules(
        tmp_path,
        """
        vat_ids:
          - {vat_id: fr 40303265045, valid: true, checked_on: 2026-08-02}
          - {vat_id: FR40303265045, valid: false, checked_on: 2026-08-01}
        entities: {US01: {registered_in: [FR], states: [{state: NY, rate: 0.08875}, {state: TX, presence: true}]}}
        services:
          - {applies_to: {package: SAAS}, code: saas}
          - {applies_to: {line: D1-L1}, category: event, used_in: FR}
        withholding: [{entity: US01, customer: C-1, rate: 0.1, valid_from: 2026-04-01}]
        """,
    )
    assert found == TaxRules(
        check_vat_ids=True,
        answers={"FR40303265045": Answer(True, date(2026, 8, 2))},
        registered_in={"US01": ("FR",)},
        states={"US01": {"NY": State(rate_ppm=88_750), "TX": State(presence=True)}},
        services={("package", "SAAS"): Service(code="saas"), ("line", "D1-L1"): Service("event", "FR")},
        withholding=(Withholding("US01", "C-1", Decimal("0.1"), "net", date(2026, 4, 1)),),
    )
    assert found.service("D1-L1", "D1", "SAAS") == Service("event", "FR")
    assert found.service("D2-L1", "D2", "ADVICE") == Service()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{entities: {DE09: {}}}", "no legal entity DE09"),
        ("{withholding: [{entity: DE09, rate: 0.1, valid_from: 2026-01-01}]}", "no legal entity DE09"),
        ("{services: [{applies_to: {}, code: saas}]}", "needs a line, a contract or a package"),
        ("{services: [{applies_to: {line: L}, code: magic}]}", "services.0.code"),
        ("{services: [{applies_to: {line: L}}, {applies_to: {line: L}, code: saas}]}", "two entries"),
        ("{entities: {US01: {states: [{state: Texas}]}}}", "state"),
    ],
)
def test_a_wrong_file_is_refused_with_a_sentence(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        rules(tmp_path, text)
