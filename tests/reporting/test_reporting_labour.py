"""Labour checks over real tables."""

from datetime import date

import small_firm
from trueup.reporting.labour import labour_checks

GERMAN = {"DE01": "DE"}


def test_a_day_above_ten_hours_is_named_with_person_and_rule(house):
    small_firm.hear(house, "timely", "entry", small_firm.entry("e40", 700, day="2026-09-08", state="sent"))
    with house.database.transaction() as tx:
        found = labour_checks(tx, GERMAN, "2026-09", date(2026, 9, 30))
        assert [(one.person, str(one.worked_on), one.check, one.severity, one.pack) for one in found] == [
            ("Ida Holm", "2026-09-08", "DAILY_MAX", "block_approval", "Germany, ArbZG")
        ]
        assert found[0].sentence == "700 minutes of work on one day; 600 are allowed."
        assert [one.check for one in labour_checks(tx, GERMAN, "2026-09", date(2026, 9, 1))] == ["DAILY_MAX", "FUTURE"]
        assert labour_checks(tx, {}, "2026-09", date(2026, 9, 30)) == []
        assert labour_checks(tx, GERMAN, "2026-08", date(2026, 9, 30)) == []


def test_an_entry_that_comes_after_the_closing_is_in_a_locked_period(house):
    small_firm.hear(house, "timely", "entry", small_firm.entry("e41", 60, day="2026-08-18", state="sent"))
    with house.database.transaction() as tx:
        [late] = labour_checks(tx, GERMAN, "2026-08", date(2026, 9, 30))
    assert (late.check, str(late.worked_on)) == ("LOCKED_PERIOD", "2026-08-18")
