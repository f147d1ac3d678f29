"""Agreement over the API: look, repair by digest, accept, sign by two."""

import pytest
from test_compare_pages import the_break

import small_firm
from small_firm import ENTITY, MONTH

PLACE = f"/v1/sign-offs/{ENTITY}/{MONTH}"


@pytest.fixture(scope="module")
def house(database_url):
    """The firm whose invoice was changed behind our back."""
    with small_firm.opened(database_url) as built:
        small_firm.raise_behind_our_back(built)
        yield built


@pytest.fixture
def people(api):
    """Two people who may decide."""
    scopes = ("money:read", "ops:read", "work:act", "admin")
    return api(*scopes, name="Ana"), api(*scopes, name="Ben")


def test_a_month_over_the_api_from_the_break_to_the_second_signature(house, people, api):
    ana, ben = people
    number = the_break(house)
    found = ana.get(f"/v1/breaks/{number}").json()
    assert (found["item"]["cls"], found["repair"]["possible"]) == ("amount", False)
    assert found["repair"]["actions"][0]["does"] == "person"
    refused = ana.post(f"/v1/breaks/{number}/repair", {"digest": found["repair"]["digest"]})
    assert (refused.status, refused.json()["hold"]) == (409, "NEEDS_A_PERSON")
    assert ana.get("/v1/breaks/999999").status == 404
    assert ana.post(f"/v1/breaks/{number}/assign", {"assignee": "Ben"}).json()["assignee"] == "Ben"
    assert ana.post(f"/v1/breaks/{number}/notes", {"words": "asked AR"}).status == 200

    with house.database.transaction() as tx:
        extra = tx.value("select min(number) from breaks where class = 'extra_in_target'")
    shown = ana.get(f"/v1/breaks/{extra}").json()["repair"]
    assert shown["possible"]
    assert ana.post(f"/v1/breaks/{extra}/repair", {"digest": "0" * 64}).status == 409
    assert ana.post(f"/v1/breaks/{extra}/repair", {"digest": shown["digest"]}).json()["done"] == "judge_again"
    with house.database.transaction() as tx:
        tx.run("update breaks set period = null where class = 'extra_in_target'")

    assert ana.post(f"{PLACE}/prepare", {}).json()["hold"] == "OPEN_BREAKS"
    assert ana.post(f"/v1/breaks/{number}/accept", {"reason": "credited in September"}).status == 200
    prepared = ana.post(f"{PLACE}/prepare", {}).json()
    assert (prepared["prepared_by"], prepared["accepted"][0]["label"]) == ("Ana", "X01-DE01-2026-08")
    assert ana.post(f"{PLACE}/sign", {}).json()["hold"] == "ANOTHER_PERSON"
    signed = ben.post(f"{PLACE}/sign", {})
    assert (signed.status, signed.json()["digest"]) == (200, prepared["digest"])
    month = next(
        one for one in ana.get(f"/v1/sign-offs?legal_entity={ENTITY}").json()["items"] if one["period"] == MONTH
    )
    assert (month["state"], month["signed_by"], month["accepted"]) == ("signed", "Ben", 1)
    assert ben.post(f"{PLACE}/reopen", {"reason": "the credit was booked"}).status == 200
    assert api("objects:read", name="Rita").post(f"{PLACE}/prepare", {}).status == 403


def test_what_stands_still_is_listed(people):
    ana, _ = people
    assert ana.get("/v1/stalled").json() == {"items": []}
