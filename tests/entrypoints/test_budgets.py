"""Budgets over the API: used, left, who, until when."""

import pytest

from trueup.store import budgets


@pytest.fixture(scope="module")
def used(house):
    """Let a back-fill use one account, and another be told to wait."""
    with house.database.transaction() as tx:
        accounts = sorted(house.accounts())
        busy, away = accounts[0], accounts[1]
        lot = budgets.take(tx, busy, "one", "backfill", "DE01", 1)
        budgets.give_back(tx, busy, [budgets.Returned(lot.lot, 1, 0)], well=True)
        budgets.slow_down(tx, away, 120.0, overload=True)
        budgets.slow_down(tx, away, 120.0, overload=True)
    return busy, away


def test_every_account_of_the_workspace_has_a_budget(api, house, used):
    found = {one["account"]: one for one in api("ops:read").get("/v1/budgets").json()["items"]}
    assert set(found) == set(house.systems)
    busy, away = found[used[0]], found[used[1]]
    assert busy["users"] == [{"lane": "backfill", "legal_entity": "DE01", "calls_hour": 1, "at_once": 0, "waiting": 0}]
    assert busy["left"] == busy["concurrency"]
    assert away["state"] == "paused"
    assert away["rate"] < away["per_second"]


def test_budgets_want_the_scope_of_operations(api, used):
    assert api("objects:read").get("/v1/budgets").status == 403
