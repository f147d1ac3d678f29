"""The error desk over the API, on the pages and on the command line: a cause, its plan, and what pressing does."""

import pytest
from wire import Api

import small_firm
from trueup.processes import plans
from trueup.store import access, deliveries
from trueup.store.deliveries import Command, Result


@pytest.fixture(scope="module")
def house(database_url):
    """The small firm, with two refused writes."""
    with small_firm.opened(database_url) as built:
        with built.database.transaction() as tx:
            deliveries.ask(
                tx,
                [
                    Command(
                        f"bill/{n}",
                        "ledgerly",
                        "invoice",
                        f"inv_{n}",
                        "invoice",
                        "post",
                        "C",
                        amount=5_000_000_000,
                        currency="EUR",
                    )
                    for n in (1, 2)
                ],
            )
            claimed = [one for one in deliveries.claim(tx, "ledgerly", 1000, "w", 60) if one.key.startswith("bill/")]
            deliveries.settle(
                tx,
                [
                    Result(one.key, one.fence, "rejected", "send", "period 2026-07 is closed", "CLOSED")
                    for one in claimed
                ],
            )
            assert len(claimed) == 2
        yield built


@pytest.fixture(scope="module")
def people(house, base):
    """Two callers of the API who may act, and one who only reads."""

    def make(name, *scopes):
        with house.database.transaction() as tx:
            return Api(base, access.issue(tx, name, scopes))

    return (
        make("Ana", "ops:act", "ops:read", "money:read"), make("Bo", "ops:act", "ops:read", "money:read"),
        make("Cy", "ops:read"),
    )  # fmt: skip


def closed(api):
    return next(one for one in api.get("/v1/issues?all=true").json()["issues"] if one["code"] == "CLOSED")


def test_a_cause_is_listed_read_and_given_to_somebody(people, reader):
    ana, _, cy = people
    one = closed(ana)
    assert (one["records"], one["amounts"], one["state"]) == (2, {"EUR": "10000.00"}, "open")
    assert closed(cy)["amounts"] == {}, "money is hidden from who may not see it"
    path = f"/v1/issues/{one['issue']}"
    assert [row["record"] for row in ana.get(path).json()["failing"]] == ["bill/1", "bill/2"]
    assert cy.post(path, {"act": "assign", "assignee": "Li"}).status == 403
    assert ana.post(path, {"act": "assign", "assignee": "Li"}).json() == {"issue": one["issue"], "state": "open"}
    refused = ana.post(path, {"act": "resolve", "reason": "it is gone"})
    assert (refused.status, b"still fail" in refused.body) == (422, True)
    page = reader("GET", "/issues")
    assert page.status == 200
    assert b"is closed" in page.body
    assert b">Li<" in page.body
    assert ana.get("/v1/issues/000000000000").status == 422


def test_a_plan_is_made_and_applied_by_another(people, reader, house):
    ana, bo, _ = people
    issue = closed(ana)["issue"]
    assert reader("GET", f"/issues/{issue}").status == 200
    made = reader("POST", "/plans", verb="retry", issue=issue, reason="July is open again")
    assert made.status == 303
    page = reader("GET", made.headers["location"])
    assert page.status == 200
    assert b"Somebody other than Di applies it" in page.body
    number = made.headers["location"].rpartition("/")[2]
    plan = ana.get(f"/v1/plans/{number}").json()
    assert (plan["counts"], plan["acts_on"], plan["two_people"]) == ({"create": 2}, 2, True)
    assert bo.post(f"/v1/plans/{number}/apply", {"digest": "0" * 64}).status == 422
    begun = bo.post(f"/v1/plans/{number}/apply", {"digest": plan["digest"]})
    assert (begun.status, begun.json()["state"], begun.headers["location"]) == (202, "applying", f"/v1/plans/{number}")
    assert b"No worker lives" in reader("GET", f"/plans/{number}").body
    assert bo.post(f"/v1/plans/{number}/apply", {"digest": plan["digest"]}).status == 202, "twice is once"
    while plans.next_batch(house, number):
        pass
    plans.finish(house, number)
    assert bo.post(f"/v1/plans/{number}/cancel", {"reason": "too late for that"}).status == 422
    assert bo.post(f"/v1/plans/{number}/apply", {"digest": plan["digest"]}).status == 422
    second = ana.post("/v1/plans", {"verb": "retry", "issue": issue, "reason": "July is open again"}).json()
    assert (second["counts"], second["acts_on"]) == ({"no_op": 2}, 0)
    assert b"2 of 2 done" in reader("GET", f"/plans/{number}").body
    assert reader("GET", "/plans").status == 200
    assert reader("GET", "/plans/999").status == 404


def test_a_refusal_is_a_sentence_on_the_page(people, reader):
    issue = closed(people[0])["issue"]
    back = reader("POST", f"/issues/{issue}/mute", reason="known for long")
    assert b"until when" in reader("GET", back.headers["location"]).body
    muted = reader("POST", f"/issues/{issue}/mute", reason="known for long", until="2099-01-01")
    assert muted.headers["location"] == f"/issues/{issue}"
    assert issue.encode() not in reader("GET", "/issues").body
    assert issue.encode() in reader("GET", "/issues?all=true").body
    assert reader("POST", f"/issues/{issue}/reopen").status == 303
    assert reader("GET", "/issues/000000000000").status == 404


@pytest.fixture(scope="module")
def misspelt(house):
    """A deal in a stage nobody knows; gives its message's number."""
    sold = small_firm.deal("X09", "a1", [{"key": "X09-L1", "package": "DATA-FF", "method": "fixed_fee", "amount": 900}])
    (number,) = small_firm.hear(house, "dealer", "deal", {**sold, "stage": "wonn"})
    return number


def test_a_record_is_corrected_on_its_page_and_agreed_by_another_over_the_api(people, reader, house, misspelt):
    _, bo, cy = people
    page = reader("GET", f"/messages/{misspelt}").body.decode()
    assert '<option value="stage">stage = &#34;wonn&#34;</option>' in page
    assert '<option value="lines.0.amount">lines.0.amount = 900</option>' in page
    typed = {"verb": "edit", "records": str(misspelt), "back": f"/messages/{misspelt}", "reason": "a slip of the CRM"}
    back = reader("POST", "/plans", **typed, field=["lines.7.amount", ""], value=["800", ""])
    assert b"a list of 1 has no place 7" in reader("GET", back.headers["location"]).body
    made = reader("POST", "/plans", **typed, field=["stage", "", ""], value=["won", "", ""])
    page = reader("GET", made.headers["location"]).body.decode()
    assert "It edits what a system said." in page
    assert "Somebody other than Di applies it" in page
    assert "&#34;won&#34;" in page
    number = made.headers["location"].rpartition("/")[2]
    plan = bo.get(f"/v1/plans/{number}").json()
    assert plan["edits"] == [{"field": "stage", "json": '"won"'}]
    assert "changes" not in plan["choice"]
    assert bo.post(f"/v1/plans/{number}/apply", {"digest": plan["digest"]}).status == 202
    while plans.next_batch(house, number):
        pass
    plans.finish(house, number)
    page = reader("GET", f"/messages/{misspelt}").body.decode()
    assert "<strong>Corrected:</strong> Di made" in page
    assert "and Bo agreed" in page
    assert "Correct fields of it" not in page
    with house.database.transaction() as tx:
        copy = tx.value("select message from message_edits where original = %s", (misspelt,))
    page = reader("GET", f"/messages/{copy}").body.decode()
    assert "<strong>Not as it came:</strong> Di corrected" in page
    assert "Correct fields" not in reader("GET", f"/messages/{copy}").body.decode()
    assert cy.post("/v1/plans", {"verb": "edit", "records": [str(misspelt)], "reason": "a slip"}).status == 403


def test_who_may_not_see_a_record_may_not_change_it(people, house):
    ana = people[0]
    (number,) = small_firm.hear(
        house, "folks", "pay", {"id": "p9", "at": "9", "who": "nobody@small.example", "hourly_cost": 10}
    )
    asked = {"verb": "edit", "records": [str(number)], "reason": "a slip", "changes": [{"field": "who", "value": "x"}]}
    answer = ana.post("/v1/plans", asked)
    assert (answer.status, b"you may not see" in answer.body) == (422, True)
    assert ana.post("/v1/plans", {**asked, "changes": [{"field": "who", "valeu": "x"}]}).status == 422
