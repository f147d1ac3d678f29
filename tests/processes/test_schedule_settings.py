"""A workspace says how a contract line is billed; a wrong file is refused with a sentence."""

from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from trueup.billing.schedules import Schedule
from trueup.entrypoints import bootstrap
from trueup.settings import SettingsError, load

TRUEUP = """
company: Small Firm
packages: {DATA-FF: {name: Data, billing_methods: [fixed_fee], revenue_method: as_invoiced}}
systems: {}
"""
ENTITY = "{code: DE01, name: Small GmbH, country: DE, currency: EUR, sells_to: [DE]}"


def schedules(folder: Path, *texts: str) -> dict[str, Schedule]:
    (folder / "entities").mkdir()
    (folder / "schedules").mkdir()
    (folder / "trueup.yaml").write_text(TRUEUP)
    (folder / "entities" / "DE01.yaml").write_text(ENTITY)
    for number, text in enumerate(texts):
        (folder / "schedules" / f"{number}.yaml").write_text(text)
    return dict(bootstrap.firm(load(folder, {})).schedules)


def test_a_file_becomes_a_schedule_with_exact_numbers(tmp_path: Path) -> None:
    found = schedules(
        tmp_path,
        "{line: D01-L1, kind: instalments, starts_on: 2026-08-01, count: 12}",
        """
        line: D02-L1
        kind: percent_complete
        starts_on: 2026-08-01
        progress: [{on: 2026-08-31, share: 0.35}, {on: 2026-09-30, share: 2/3}]
        """,
        """
        line: D03-L1
        kind: service_period
        starts_on: 2026-08-12
        due: advance
        lead_days: 14
        anchor_day: 31
        proration: thirty_360
        prices: [{valid_from: 2026-08-01, price: 3000.10}]
        """,
    )
    assert found["D01-L1"] == Schedule("D01-L1", "instalments", date(2026, 8, 1), count=12)
    assert [share for _, share in found["D02-L1"].progress] == [Fraction(35, 100), Fraction(2, 3)]
    assert found["D03-L1"].prices == ((date(2026, 8, 1), Decimal("3000.1")),)


def test_a_workspace_without_schedules_has_none(tmp_path: Path) -> None:
    assert schedules(tmp_path) == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{line: L, kind: instalments, starts_on: 2026-08-01, cuont: 2}", "did you mean count"),
        ("{line: L, kind: weekly, starts_on: 2026-08-01}", "schedules/0.yaml: kind"),
        ("{line: L, kind: service_period, starts_on: 2026-08-01}", "needs a price that counts on its first day"),
        ("{line: L, kind: instalments, starts_on: 2026-08-01, ends_on: 2026-07-01}", "ends before it starts"),
        ("{line: L, kind: percent_complete, starts_on: 2026-08-01, progress: [{on: 2026-08-01, share: 3/2}]}", "share"),
        (
            "{line: L, kind: percent_complete, starts_on: 2026-08-01,"
            " progress: [{on: 2026-08-01, share: 0.1}, {on: 2026-08-01, share: 0.2}]}",
            "stated twice",
        ),
    ],
)
def test_a_wrong_file_is_refused_with_a_sentence(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        schedules(tmp_path, text)


def test_one_line_has_one_schedule(tmp_path: Path) -> None:
    one = "{line: L, kind: instalments, starts_on: 2026-08-01}"
    with pytest.raises(SettingsError, match="in another file already"):
        schedules(tmp_path, one, one)
