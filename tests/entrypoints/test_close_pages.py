"""Month ends on the pages and over the API: the small firm's August is closed, accepted, reopened by two people."""

import hashlib
import time
from dataclasses import replace

import pytest
from test_pages import Shape
from wire import EVERYTHING, Api, call

import small_firm
from small_firm import ENTITY, MONTH
from trueup import engine
from trueup.store import access

PLACE = f"/close/{ENTITY}/{MONTH}"
API = f"/v1/closes/{ENTITY}/{MONTH}"
SECONDS = 60.0


@pytest.fixture(scope="module")
def house(database_url):
    """The small firm after its August, which blocks on unapproved time; an engine works."""
    with small_firm.opened(database_url) as built:
        entity = built.firm.entities[ENTITY]
        built.firm.entities[ENTITY] = replace(entity, close_blocks=frozenset({"unapproved"}))
        running = engine.Engine(built.database)
        running.launch(built)
        yield built
        running.stop()


@pytest.fixture(scope="module")
def people(house, base):
    """Make a caller of the API by name."""

    def make(name, *scopes):
        with house.database.transaction() as tx:
            return Api(base, access.issue(tx, name, scopes))

    return make


def until(what):
    ends = time.monotonic() + SECONDS
    while not (found := what()):
        assert time.monotonic() < ends, "it did not happen"
        time.sleep(0.1)
    return found


def settled(caller):
    """Wait until nothing is under way; gives the month."""
    return until(lambda: found if not (found := caller.get(API).json())["running"] else None)


def test_a_month_from_the_first_look_to_the_second_revision(people, visit, base):
    ana, ben = people("Ana", "admin"), people("Ben", "admin")
    reader = people("Rita", "money:read")
    ana_s_page = visit(*EVERYTHING)
    body = {"period": MONTH, "legal_entity": ENTITY}

    # Who may only read starts nothing; a dry run writes nothing.
    assert reader.post("/v1/processes/closes", body).status == 403
    looked = ana.post("/v1/processes/closes", body | {"dry_run": True}).json()
    assert [item["state"] for item in looked["items"]][:4] == ["blocked", "open", "open", "passed"]
    assert next(item for item in looked["items"] if item["item"] == "margin")["figures"]["labour"] == "hidden"
    assert ana.post("/v1/processes/closes", body | {"legal_entity": "XX"}).status == 422
    assert reader.get(API).json()["items"][0]["checked_at"] is None
    page = Shape(ana_s_page(PLACE).body.decode())
    assert "Close the month" in page.text
    assert "The month was never closed." in page.text

    # Blocked by what is not approved, until Ana accepts it on the page.
    started = ana.post("/v1/processes/closes", body)
    assert started.status == 202
    assert started.headers["location"].startswith("/v1/operations/period_close/2026-08/DE01/1.1")
    month = settled(ana)
    assert (month["state"], month["items"][0]["state"]) == ("open", "blocked")
    operation = ana.get(started.headers["location"]).json()
    assert operation["steps"][0]["step"] == "look_at_unapproved"
    short = ana_s_page.post(f"{PLACE}/accept", {"item": "unapproved", "reason": "no"})
    assert short.status == 422
    foreign = ana_s_page.post(
        f"{PLACE}/accept", {"item": "unapproved", "reason": "agreed"}, **{"Sec-Fetch-Site": "cross-site"}
    )
    assert foreign.status == 403
    nothing = ana_s_page.post(f"{PLACE}/accept", {"item": "drafts", "reason": "there is none"})
    assert nothing.status == 409
    assert b"has no finding" in nothing.body
    accepted = ana_s_page.post(f"{PLACE}/accept", {"item": "unapproved", "reason": "billed in <September>"})
    assert (accepted.status, accepted.headers["location"]) == (303, f"{PLACE}?done=accepted")
    text = ana_s_page(PLACE).body.decode()
    assert "billed in &lt;September&gt;" in text
    assert "<September>" not in text

    # Closed on the page; whoever closes again is told the hash.
    assert ana_s_page.post(f"{PLACE}/start", {}).status == 303
    month = until(lambda: found if (found := reader.get(API).json())["state"] == "closed" else None)
    assert month["items"][0]["accepted_by"] == "Ana M"
    again = ben.post("/v1/processes/closes", body)
    assert (again.status, again.json()["sha256"]) == (200, month["sha256"])
    assert ana.get(API + "/snapshot").status == 403
    frozen = people("Cost", "money:read", "cost:read").get(API + "/snapshot")
    assert hashlib.sha256(frozen.body).hexdigest() == month["sha256"]
    assert ana_s_page(f"{PLACE}/snapshot").body == frozen.body
    assert visit("money:read")(f"{PLACE}/snapshot").status == 403
    text = Shape(ana_s_page(PLACE).body.decode()).text
    assert month["sha256"] in text
    assert "Nothing. The facts of the month are what they were" in text
    assert month["sha256"][:12] in ana_s_page("/close").body.decode()
    assert visit("money:read")(PLACE).status == 200

    # Reopened by two: Ana asks, Ana may not decide, Ben may.
    assert ana.post(API + "/reopen", {"reason": "no"}).status == 422
    asked = ana.post(API + "/reopen", {"reason": "an invoice is missing"}, key="reopen-1")
    assert asked.status == 202
    assert ana.post(API + "/reopen", {"reason": "an invoice is missing"}, key="reopen-1").json() == asked.json()
    number = asked.json()["proposal"]
    assert "an invoice is missing" in ana_s_page("/close").body.decode()
    same = ana.post(API + "/approve", {"proposal": number})
    assert (same.status, same.json()["hold"]) == (409, "ANOTHER_PERSON")
    assert ben.post(f"/v1/closes/{ENTITY}/2026-07/approve", {"proposal": number}).status == 404
    assert ana_s_page.post(f"/close/{ENTITY}/2026-07/approve", {"number": number}).status == 409
    approved = ben.post(API + "/approve", {"proposal": number})
    assert (approved.status, approved.json()["revision"], approved.json()["approved_by"]) == (200, 2, "Ben")
    month = reader.get(API).json()
    assert (month["state"], month["revision"], month["revisions"][1]["sha256"]) == ("open", 2, hash_of(frozen.body))

    # Asked on a page, refused to the same person there, too.
    ana.post("/v1/processes/closes", body)
    settled(ana)
    ana.post(API + "/accept", {"item": "unapproved", "reason": "as before"})
    ana.post("/v1/processes/closes", body)
    month = until(lambda: found if (found := reader.get(API).json())["state"] == "closed" else None)
    assert (month["revision"], month["sha256"]) == (2, hash_of(frozen.body))
    assert ana_s_page.post(f"{PLACE}/reopen", {"reason": "once more, please"}).status == 303
    number = max(one["number"] for one in reader.get(API).json()["proposals"])
    refused = ana_s_page.post(f"{PLACE}/approve", {"number": number})
    assert refused.status == 409
    assert b"Another person has to do this" in refused.body
    matrix = reader.get("/v1/closes").json()
    assert matrix["waiting"][0]["asked_by"] == "Ana M"


def hash_of(raw):
    return hashlib.sha256(raw).hexdigest()


def test_the_pages_are_whole_and_every_link_leads_somewhere(visit):
    ana = visit(*EVERYTHING)
    for path in ("/close", PLACE, f"/close/{ENTITY}/2026-07"):
        answer = ana(path)
        assert answer.status == 200, path
        page = Shape(answer.body.decode())
        assert not {name for name in page.attributes if name == "style" or name.startswith("on")}, path
        assert [tag for tag, _ in page.tags].count("h1") == 1, path
        labelled = {attributes.get("for") for tag, attributes in page.tags if tag == "label"}
        for tag, attributes in page.tags:
            if tag == "input" and attributes.get("type") != "hidden" and attributes.get("id") != "keys-on":
                assert attributes.get("aria-label") or attributes.get("id") in labelled, (path, attributes)
            if tag == "a" and attributes["href"].startswith("/"):
                assert ana(attributes["href"].partition("#")[0]).status in (200, 303), attributes["href"]
    assert ana("/close/XX/2026-08").status == 404
    assert ana("/close/DE01/august").status == 422


def test_without_a_token_or_its_scopes_nobody_sees_or_closes_anything(base, visit):
    assert call(base, "GET", PLACE).status == 303
    assert visit("work:read")("/close").status == 403
    assert visit("money:read").post(f"{PLACE}/start", {}).status == 403
    assert call(base, "GET", API).status == 401


def test_numbers_the_erp_gave_are_shown_as_theirs(people):
    (series,) = people("Rita", "money:read").get("/v1/numbers").json()["items"]
    assert (series["owner"], series["first"], series["missing"]) == ("erp", "R-1001", [])
