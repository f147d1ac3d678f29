"""The page of a billing run: what it would do, that it is begun once, and how far it is."""

import pytest

import small_firm
from small_firm import entry, hear
from trueup.processes import time_to_billing


@pytest.fixture(scope="module")
def house(database_url):
    """The small firm after its August, with an hour of September and one that has no rate."""
    with small_firm.opened(database_url) as built:
        hear(built, "timely", "entry", entry("z1", 60, day="2026-09-01"))
        hear(built, "timely", "entry", entry("z2", 45, day="2026-09-02", role="Analyst"))
        yield built


def test_the_page_shows_what_a_run_would_draft_and_hold_and_writes_nothing(house, reader):
    page = reader("GET", "/billing/run?period=2026-09&entity=DE01&look=true").body.decode()
    assert "X01-DE01-2026-09" in page
    assert "150.00" in page
    assert "rate missing" in page
    assert "not begun" in page
    with house.database.transaction() as tx:
        assert tx.value("select count(*) from runs where period = '2026-09' and kind = 'billing'") == 0


def test_a_month_that_is_billed_says_so(reader):
    page = reader("GET", "/billing/run?period=2026-08&entity=DE01&look=true").body.decode()
    assert "The month is billed" in page


def test_a_run_is_begun_from_the_page_once_and_shown_when_it_is_done(house, reader):
    asked = {"period": "2026-09", "entity": "DE01"}
    for _ in range(2):
        answer = reader("POST", "/billing/run", **asked)
        assert (answer.status, answer.headers["location"]) == (303, "/billing/run?period=2026-09&entity=DE01")
    with house.database.transaction() as tx:
        assert tx.value("select count(*) from dbos.workflow_status where name = 'billing_run'") == 1
    time_to_billing.bill(house, "2026-09", "DE01", "billing_run/2026-09/DE01")
    page = reader("GET", answer.headers["location"]).body.decode()
    assert "150.00 EUR" in page
    assert "rate missing" in page


@pytest.mark.parametrize(
    "path", ["/billing/run?period=2026-13", "/billing/run?period=now", "/billing/run?look=perhaps"]
)
def test_words_that_are_no_month_are_refused(reader, path):
    assert reader("GET", path).status in (400, 422)
