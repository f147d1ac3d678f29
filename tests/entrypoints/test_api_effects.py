"""Open ends, older values and half-done processes through the API: seen by who may watch, decided by who may act."""

import pytest

from trueup.store import deliveries
from trueup.store.deliveries import Command, Result


@pytest.fixture
def boss(api):
    return api("admin", name="the boss")


@pytest.fixture
def watcher(api):
    return api("ops:read", name="watcher")


def asked(house, name, **more):
    """Ask for a write, send it, and let it end as it is said."""
    outcome = more.pop("outcome")
    key = f"nowhere/invoice/inv_{name}/create"
    with house.database.transaction() as tx:
        deliveries.ask(tx, [Command(key, "nowhere", "invoice", f"inv_{name}", "invoice", "create", "D", **more)])
        (one,) = [d for d in deliveries.claim(tx, "nowhere", 10, "w", 60.0) if d.key == key]
        deliveries.about_to_send(tx, [(key, one.fence, {"n": 1}, "digest", "m", 1, None)])
        external_id = "9" if outcome == "confirmed" else None
        deliveries.settle(tx, [Result(key, one.fence, outcome, "send", "said so", external_id=external_id, wait=3600)])
    return key


def parked(house, name):
    key = asked(house, name, outcome="unknown", amount=12_0000, currency="EUR")
    with house.database.transaction() as tx:
        tx.run("update deliveries set state = 'parked', code = 'silence' where key = %s", (key,))
    return key


def test_an_open_end_is_listed_and_its_money_only_to_who_may_see_money(boss, watcher, house):
    key = asked(house, "open", outcome="unknown", amount=12_0000, currency="EUR")
    (mine,) = [row for row in boss.get("/v1/effects").json()["open"] if row["key"] == key]
    assert (mine["state"], mine["amount"]) == ("unknown", 120_000)
    assert 3500 < mine["next_look"] <= 3600
    (theirs,) = [row for row in watcher.get("/v1/effects").json()["open"] if row["key"] == key]
    assert "amount" not in theirs
    assert watcher.get("/v1/effects").json()["states"]["unknown"] >= 1
    assert watcher.get("/v1/effects/regressions").status == 403


def test_a_person_who_found_a_parked_write_says_under_which_identifier(boss, watcher, house):
    key = parked(house, "found")
    assert watcher.post("/v1/effects/found", {"key": key, "external_id": "77"}).status == 403
    assert boss.post("/v1/effects/found", {"key": key, "external_id": "77"}).json() == {"key": key, "state": "landed"}
    with house.database.transaction() as tx:
        assert deliveries.state_of(tx, key) == "landed"
    assert boss.post("/v1/effects/found", {"key": key, "external_id": "78"}).json()["code"] == "conflict"


def test_a_half_done_process_is_listed_and_can_be_taken_back(boss, house):
    asked(house, "made", outcome="confirmed", process="half/1")
    asked(house, "refused", outcome="rejected", process="half/1")
    (half,) = [row for row in boss.get("/v1/effects/halves").json()["halves"] if row["process"] == "half/1"]
    assert (half["made"], half["stuck"], half["systems"]) == (1, 1, ["nowhere"])
    done = boss.post("/v1/effects/undo", {"process": "half/1", "reason": "the client has left"}).json()
    assert done["let_go"] == ["nowhere/invoice/inv_refused/create"]
    assert done["stays"] == [
        ["nowhere/invoice/inv_made/create", "no mapping takes the invoice back: do it in nowhere"]
    ]  # fmt: skip
    assert [row for row in boss.get("/v1/effects/halves").json()["halves"] if row["process"] == "half/1"] == []
    missing = boss.post("/v1/effects/undo", {"process": "no/such", "reason": "the client has left"})
    assert missing.json()["code"] == "not_found"
