"""Projects and the firm's figures against a calculation by hand."""

from decimal import Decimal

import pytest

from small_firm import gid_of
from trueup.reporting.executive import executive
from trueup.reporting.project import find_project, project, projects


def test_a_project_is_sold_delivered_invoiced_and_earned(tx):
    row = next(row for row in projects(tx, cost=True) if row.code == "X01-DE01")
    assert (row.sold, row.delivered, row.invoiced, row.recognised) == (
        Decimal("13000.00"), Decimal("1567.50"), Decimal("1567.50"), Decimal("1567.50"),
    )  # fmt: skip
    assert (row.held, row.held_items) == (Decimal("300.00"), 2)


def test_cost_and_margin_need_the_right(tx):
    hidden = next(row for row in projects(tx) if row.code == "X01-DE01")
    seen = next(row for row in projects(tx, cost=True) if row.code == "X01-DE01")
    assert (hidden.cost, hidden.margin) == (None, None)
    # 435 + 60 + 90 + 60 + 30 approved minutes at 60.00 = 675.00, and the hotel of 100.00
    assert seen.cost == Decimal("775.00")
    assert seen.margin == Decimal("50.6")


def test_a_project_shows_its_lines_people_and_systems(tx):
    it = project(tx, find_project(tx, "X01-DE01"))
    assert {(one.billing_method, one.delivered) for one in it.methods} == {
        ("time_and_materials", Decimal("1462.50")), ("pass_through", Decimal("105.00")),
    }  # fmt: skip
    (ida,) = it.people
    assert (ida.name, ida.approved, ida.billable, ida.submitted) == ("Ida Holm", 675, 645, 120)
    assert {one.system for one in it.systems} == {"timely", "ledgerly"}
    assert [one.labour for one in it.months] == [None]


def test_an_unsigned_milestone_is_held_and_counts_as_delivered(tx):
    it = project(tx, find_project(tx, "X03-DE01"))
    (milestone,) = it.milestones
    assert (milestone.held, milestone.invoice) == (True, None)
    assert it.row.delivered == it.row.held == Decimal("5000.00")


@pytest.mark.parametrize("identifier", ["X99-DE01", ""])
def test_an_unknown_project_is_none(tx, identifier):
    assert find_project(tx, identifier) is None


def test_the_firms_figures_are_those_of_the_closed_month(tx):
    page = executive(tx, cost=True)
    assert page.closed == {"DE01": "2026-08"}
    for name, value in (
        ("billed", "1567.50"),
        ("recognised", "1567.50"),
        ("unbilled", "0.00"),
        ("deferred", "0.00"),
        ("receivables", "1000.00"),
        ("dso", "16.6"),
    ):
        assert page.value(name, "DE01", "EUR") == Decimal(value), name
    # 13,000 - 1,567.50 of X01, 10,000 of X03; the held deal is not active
    assert page.value("backlog", None, "EUR") == Decimal("21432.50")
    assert page.value("margin", None, "EUR") == Decimal("50.6")
    # 645 of 21 weekdays x 8 h
    assert page.value("utilisation") == Decimal("6.4")


def test_there_is_no_margin_without_the_right_to_cost(tx):
    page = executive(tx)
    assert not page.margin_seen
    assert "margin" not in {figure.name for figure in page.figures}


def test_every_figure_has_its_definition(tx):
    page = executive(tx, cost=True)
    assert {figure.name for figure in page.figures} <= {one.name for one in page.definitions}
    assert all(one.definition and one.formula for one in page.definitions)


def test_the_month_is_listed_with_what_it_added(tx):
    (month,) = executive(tx).months
    assert (month.period, month.billed, month.recognised) == ("2026-08", Decimal("1567.50"), Decimal("1567.50"))


def test_a_projects_code_is_enough_to_find_it(tx, house):
    assert find_project(tx, "X01-DE01") == gid_of(house, "project", "X01-DE01")
