"""The pages of agreement: what differs is filtered, looked into, accepted and signed by two people."""

import pytest
from test_pages import Shape
from wire import EVERYTHING

import small_firm
from small_firm import ENTITY, MONTH
from trueup.entrypoints.web import rendering


@pytest.fixture(scope="module")
def house(database_url):
    """The small firm after its August, with an invoice the ERP has changed behind our back."""
    with small_firm.opened(database_url) as built:
        small_firm.raise_behind_our_back(built)
        yield built


@pytest.fixture(scope="module")
def person(visit):
    """Make a reader by name, who may see and do everything unless said otherwise."""
    return lambda name, *scopes: visit(*(scopes or EVERYTHING), name=name)


def shape(answer):
    assert answer.status == 200, answer.body
    return Shape(answer.body.decode())


def the_break(house):
    with house.database.transaction() as tx:
        return tx.value("select number from breaks where class = 'amount' and closed_at is null")


def test_what_differs_is_filtered_by_entity_month_class_and_system(person):
    ana = person("Ana")
    everything = shape(ana("/compare")).text
    assert "Amount differs" in everything
    assert "Unknown to the hub" in everything
    only = shape(ana("/compare?class=amount&system=ledgerly&entity=DE01&period=2026-08")).text
    assert "X01-DE01-2026-08" in only
    assert "Open for" in only
    none = shape(ana("/compare?system=folks&class=amount")).text
    assert "No break fits." in none
    assert shape(ana("/compare?class=%3Cscript%3E&entity=%27%3B--")).text


def test_the_lists_are_files_too(person):
    ana = person("Ana")
    lines = ana("/compare?csv=breaks&class=amount").body.decode("utf-8-sig").splitlines()
    assert lines[0].startswith("number,cls,title")
    assert len(lines) == 2
    assert "100.00 EUR" in lines[1]
    assert ana("/compare?csv=sums").body.decode("utf-8-sig").startswith("object,")


def test_a_break_shows_what_would_end_it_and_keeps_what_people_do(house, person):
    ana = person("Ana")
    place = f"/compare/breaks/{the_break(house)}"
    page = shape(ana(place))
    assert "credit and bill again" in page.text
    assert "Do this" not in page.text  # a booked document is left to a person
    assert ana.post(f"{place}/assign", {"assignee": "Ben"}).status == 303
    assert ana.post(f"{place}/note", {"words": "asked <AR>"}).status == 303
    text = ana(place).body.decode()
    assert "asked &lt;AR&gt;" in text
    assert "Given to Ben" in text
    assert (
        person("Rita", "work:read", "money:read").post(f"{place}/accept", {"reason": "because I say so"}).status == 403
    )
    assert ana.post(f"{place}/accept", {"reason": "no"}).status == 422
    assert ana("/compare/breaks/999999").status == 404


def test_a_repair_is_done_as_it_was_shown_or_not_at_all(house, person):
    ana = person("Ana")
    with house.database.transaction() as tx:
        number = tx.value("select min(number) from breaks where class = 'extra_in_target' and closed_at is null")
    place = f"/compare/breaks/{number}"
    page = shape(ana(place))
    assert "Do this" in page.text
    digest = next(tag[1]["value"] for tag in page.tags if tag[1].get("name") == "digest")
    refused = ana.post(f"{place}/repair", {"digest": "0" * 64})
    assert refused.status == 409
    assert b"another one than was shown" in refused.body
    assert ana.post(f"{place}/repair", {"digest": digest}).status == 303
    assert "Repair started by Ana" in shape(ana(place)).text


def test_a_month_is_signed_by_a_second_person_when_nothing_is_left_open(house, person):
    ana, ben = person("Ana"), person("Ben")
    with house.database.transaction() as tx:
        tx.run("update breaks set period = null where class = 'extra_in_target'")
    month = {"entity": ENTITY, "period": MONTH}
    assert b"nobody accepted" in ana.post("/compare/sign-off/prepare", month).body
    assert "to look at" in shape(ana("/compare")).text
    accepted = ana.post(f"/compare/breaks/{the_break(house)}/accept", {"reason": "credited in September"})
    assert accepted.headers["location"].endswith("?done=accepted_break")
    assert "Accepted by Ana: credited in September" in shape(ana("/compare")).text
    assert ana.post("/compare/sign-off/prepare", month).status == 303
    assert "another person signs" in shape(ana("/compare")).text
    same = ana.post("/compare/sign-off/sign", month)
    assert (same.status, b"Another person has to do this" in same.body) == (409, True)
    assert ben.post("/compare/sign-off/sign", month).status == 303
    signed = shape(ben("/compare")).text
    assert "signed" in signed
    assert "Reopen" in signed
    assert ben.post("/compare/sign-off/reopen", month).status == 409
    assert ben.post("/compare/sign-off/reopen", {**month, "reason": "the credit was booked"}).status == 303
    assert "Ben reopened it on" in shape(ana("/compare")).text


def test_the_pages_keep_their_policy(person):
    assert person("Ana")("/compare").headers["content-security-policy"] == rendering.HEADERS["Content-Security-Policy"]
