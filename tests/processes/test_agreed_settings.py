"""A workspace says what was paid on account, what is agreed about retainers and retention, and what waits for a person."""

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from trueup.billing.terms import ExpenseRule, RollOver
from trueup.entrypoints import bootstrap
from trueup.pipeline.house import Firm, Prepayment
from trueup.settings import SettingsError, load

TRUEUP = """
company: Small Firm
packages: {CARE: {name: Care, billing_methods: [retainer], revenue_method: ratable}}
systems: {}
"""
ENTITY = "{code: DE01, name: Small GmbH, country: DE, currency: EUR, sells_to: [DE]}"
PAID = "contract: D07, legal_entity: DE01, received_on: 2026-01-15, currency: EUR"


def firm(folder: Path, prepayments: str | None = None, terms: str | None = None) -> Firm:
    for name in ("entities", "terms"):
        (folder / name).mkdir()
    (folder / "trueup.yaml").write_text(TRUEUP)
    (folder / "entities" / "DE01.yaml").write_text(ENTITY)
    if prepayments is not None:
        (folder / "prepayments.yaml").write_text(prepayments)
    if terms is not None:
        (folder / "terms" / "care.yaml").write_text(terms)
    return bootstrap.firm(load(folder, {}))


def test_payments_on_account_are_read_to_the_cent(tmp_path: Path) -> None:
    found = firm(tmp_path, f"prepayments: [{{{PAID}, key: P1, gross: 119.00, tax: 19.00}}]")
    assert found.prepayments == (
        Prepayment("D07", "DE01", "P1", date(2026, 1, 15), "EUR", Decimal(119), Decimal(19)),
    )  # fmt: skip


def test_terms_say_how_hours_roll_over_what_is_kept_back_and_what_a_day_costs(tmp_path: Path) -> None:
    found = firm(
        tmp_path,
        terms="""
        roll_over: {months: 2, cap_hours: 7.5, use_first: own}
        retention_share: 0.1
        expenses: {Per diem: {daily_rate: 45}}
        """,
    ).terms["defaults", ""]
    assert found.roll_over == RollOver(2, 450, "own")
    assert found.retention_share == Decimal("0.1")
    assert found.expenses == {"Per diem": ExpenseRule(daily_rate=Decimal(45))}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"prepayments: [{{{PAID}, key: P1, gross: 10, tax: 11}}]", "cannot be more"),
        (
            f"prepayments: [{{{PAID}, key: P1, gross: 10}}, {{{PAID}, key: P1, gross: 10}}]",
            "two payments are called P1",
        ),
        (f"prepayments: [{{{PAID.replace('DE01', 'DE02')}, key: P1, gross: 10}}]", "no legal entity DE02"),
    ],
)
def test_a_wrong_payment_is_refused_with_a_sentence(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        firm(tmp_path, text)


def test_what_waits_for_a_person_is_for_the_firm_to_say(tmp_path: Path) -> None:
    usual = firm(tmp_path)
    assert (usual.duplicates, usual.labour_blocking) == ("across_systems", frozenset())
    said = "duplicates: everywhere\nlabour: {blocking: [DAILY_MAX, OVER_24H]}\n"
    (tmp_path / "trueup.yaml").write_text(TRUEUP + said)
    strict = bootstrap.firm(load(tmp_path, {}))
    assert (strict.duplicates, strict.labour_blocking) == ("everywhere", frozenset({"DAILY_MAX", "OVER_24H"}))
    (tmp_path / "trueup.yaml").write_text(TRUEUP + "labour: {blocking: [OVERLAP]}\n")
    with pytest.raises(SettingsError, match=r"labour\.blocking"):
        load(tmp_path, {})
