"""Canonical objects over HTTP: written through governance, read with ETags, masked where pay is concerned."""

import itertools
import threading

import pytest
from firm_objects import CUSTOMER, RESOURCE, contract, cost_rate

NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def crm(api):
    return api("objects:read", "objects:write", "role:crm", name="crm")


@pytest.fixture(scope="module")
def erp(api):
    return api("objects:read", "objects:write", "role:erp", name="erp")


@pytest.fixture(scope="module")
def hris(api):
    return api("objects:read", "objects:write", "role:hris", name="hris")


@pytest.fixture
def place():
    return f"/v1/customers/salesforce:001{next(NUMBERS):012d}AAA"


def test_what_a_system_says_becomes_an_object_with_its_identity(crm, place):
    answer = crm.put(place, CUSTOMER)
    assert answer.status == 201
    told = answer.json()
    assert (told["created"], told["version"]) == (True, 1)
    assert [one["verdict"] for one in told["decisions"]] == ["accept"]
    assert answer.headers["location"] == f"/v1/customers/{told['gid']}"
    read = crm.get(answer.headers["location"])
    assert read.headers["etag"] == answer.headers["etag"] == '"1"'
    item = read.json()
    assert (item["kind"], item["status"], item["body"]["name"]) == ("customer", "active", "Fjord Energi")
    assert [(one["system"], one["object"]) for one in item["sources"]] == [("salesforce", "Account")]
    assert crm.get(place).json() == item


def test_an_object_made_here_is_the_one_a_vendors_record_will_find(crm, place, house):
    gid = crm.put(place, CUSTOMER).json()["gid"]
    with house.database.transaction() as tx:
        row = tx.row("select gid from crosswalk where external_id = %s", (place.partition(":")[2],))
    assert row["gid"] == gid


def test_a_change_needs_the_version_it_is_about(crm, place):
    crm.put(place, CUSTOMER)
    blind = crm.put(place, {"industry": "Energy"})
    assert (blind.status, blind.json()["code"], blind.headers["etag"]) == (428, "condition_missing", '"1"')
    changed = crm.put(place, {"industry": "Energy"}, at='"1"')
    assert (changed.status, changed.headers["etag"]) == (200, '"2"')
    stale = crm.put(place, {"industry": "Oil"}, at='"1"')
    assert stale.status == 412
    assert (stale.json()["given"], stale.json()["current"]) == ('"1"', '"2"')
    assert crm.get(place).json()["body"]["industry"] == "Energy"


@pytest.mark.parametrize("tag", ['W/"1"', '"01"', "1", "nonsense", '"1', "", '"999"'])
def test_a_weak_or_foreign_tag_does_not_match(crm, place, tag):
    crm.put(place, CUSTOMER)
    assert crm.put(place, {"industry": "Oil"}, headers={"If-Match": tag or " "}).status == 412


def test_conditions_on_what_does_not_exist(crm, place):
    assert crm.put(place, CUSTOMER, at='"1"').status == 412
    assert crm.put(place, CUSTOMER, headers={"If-None-Match": "*"}).status == 201
    assert crm.put(place, CUSTOMER, headers={"If-None-Match": "*"}).status == 412


def test_an_unchanged_object_is_not_sent_again(crm, place):
    crm.put(place, CUSTOMER)
    answer = crm.get(place, {"If-None-Match": '"1"'})
    assert (answer.status, answer.body) == (304, b"")


def test_saying_the_same_again_changes_nothing(crm, place):
    crm.put(place, CUSTOMER)
    again = crm.put(place, CUSTOMER, at='"1"')
    assert (again.status, again.headers["etag"], again.json()["changed"]) == (200, '"1"', False)
    assert {one["verdict"] for one in again.json()["decisions"]} == {"agree"}


def test_a_non_owners_word_is_kept_as_a_proposal_with_its_sentence(crm, erp, place, house):
    gid = crm.put(place, CUSTOMER).json()["gid"]
    answer = erp.put(f"/v1/customers/{gid}", {"payment_terms_days": 60, "credit_hold": True}, at='"1"')
    assert answer.status == 200
    by_verdict = {one["verdict"]: one for one in answer.json()["decisions"]}
    assert by_verdict["propose"]["fields"] == {"payment_terms_days": 60}
    assert by_verdict["propose"]["sentence"] == "crm owns customer.payment_terms_days while active"
    assert by_verdict["accept"]["fields"] == {"credit_hold": True}
    body = crm.get(place).json()["body"]
    assert (body["payment_terms_days"], body["credit_hold"]) == (30, True)
    with house.database.transaction() as tx:
        row = tx.row("select field, system, value, state from proposals where gid = %s", (gid,))
    assert (row["field"], row["system"], row["value"], row["state"]) == ("payment_terms_days", "erp", 60, "open")
    came_round = erp.put(f"/v1/customers/{gid}", {"payment_terms_days": 30}, at='"2"')
    assert came_round.json()["decisions"][0]["verdict"] == "agree"
    with house.database.transaction() as tx:
        assert tx.value("select state from proposals where gid = %s", (gid,)) == "settled"


def test_the_history_tells_every_word_and_its_reason(crm, erp, place):
    gid = crm.put(place, CUSTOMER).json()["gid"]
    erp.put(f"/v1/customers/{gid}", {"payment_terms_days": 60}, at='"1"')
    crm.put(place, {"payment_terms_days": 45}, at='"1"')
    items = crm.get(f"/v1/customers/{gid}/history").json()["items"]
    assert [(one["verdict"], one["actor"]) for one in items] == [
        ("accept", "crm"),
        ("propose", "erp"),
        ("accept", "crm"),
    ]
    assert items[2]["fields"] == [{"field": "payment_terms_days", "before": 30, "after": 45}]
    assert crm.get(f"{place}/history").json()["items"] == items


def test_only_a_maker_may_bring_an_object_into_being(erp, place):
    answer = erp.put(place.replace("salesforce", "netsuite"), CUSTOMER)
    assert (answer.status, answer.json()["code"]) == (403, "forbidden")
    assert answer.json()["detail"] == "only crm may create a customer; erp does not"


def test_a_token_speaks_only_for_its_own_role(api, erp, crm, place):
    assert erp.put(place, CUSTOMER).status == 403
    assert api("objects:write", name="no role").put(place, CUSTOMER).status == 403
    assert api("objects:write", "role:crm", "role:erp", name="two roles").put(place, CUSTOMER).status == 403
    assert api("objects:write", "role:hub", name="the hub").put(place, CUSTOMER).status == 403
    assert crm.get(place).status == 404


def test_a_status_moves_only_along_its_lifecycle(crm, place):
    crm.put(place, CUSTOMER)
    crm.put(place, {"status": "merged"}, at='"1"')
    back = crm.put(place, {"status": "active"}, at='"2"')
    assert back.json()["decisions"][0]["verdict"] == "hold"
    assert crm.get(place).json()["status"] == "merged"


def test_a_dry_run_shows_the_decisions_and_writes_nothing(crm, erp, place, house):
    shown = crm.put(f"{place}?dry_run=true", CUSTOMER, headers={"Idempotency-Key": ""})
    assert (shown.status, shown.json()["dry_run"], shown.json()["created"]) == (200, True, False)
    assert crm.get(place).status == 404
    gid = crm.put(place, CUSTOMER).json()["gid"]
    shown = erp.put(f"/v1/customers/{gid}?dry_run=true", {"name": "Other"}, at='"1"')
    assert shown.json()["decisions"][0]["verdict"] == "propose"
    with house.database.transaction() as tx:
        assert tx.value("select count(*) from proposals where gid = %s", (gid,)) == 0


def test_references_may_be_anybodys_identifiers(crm, place):
    gid = crm.put(place, CUSTOMER).json()["gid"]
    theirs = place.removeprefix("/v1/customers/")
    number = next(NUMBERS)
    body = contract(theirs, f"R{number}")
    answer = crm.put(f"/v1/contracts/salesforce:006{number}", body)
    assert answer.status == 201, answer.body
    read = crm.get(f"/v1/contracts/salesforce:006{number}").json()["body"]
    assert (read["customer"], read["lines"][0]["bill_to"]) == (gid, gid)


def test_references_to_nothing_are_refused_by_place(crm):
    body = contract("salesforce:nobody", "R0")
    body["lines"][0]["bill_to"] = "cus_00000000000000000000000000"
    answer = crm.put("/v1/contracts/salesforce:006X", body)
    assert answer.status == 422
    assert {(one["pointer"], one["code"]) for one in answer.json()["errors"]} == {
        ("/customer", "unknown_reference"),
        ("/lines/0/bill_to", "unknown_reference"),
    }


def test_lists_are_paged_to_the_end_once(crm):
    made = {
        crm.put(f"/v1/customers/salesforce:page{n}", CUSTOMER | {"industry": "Paging"}).json()["gid"] for n in range(7)
    }
    items = crm.pages("/v1/customers?industry=Paging&limit=3")
    assert [one["gid"] for one in items] == sorted(made)
    exact = crm.get("/v1/customers?industry=Paging&limit=7").json()
    assert (len(exact["items"]), exact["next"]) == (7, None)


def test_filters_keep_their_types(crm):
    crm.put("/v1/customers/salesforce:typed", CUSTOMER | {"industry": "Typed", "payment_terms_days": 61})
    assert len(crm.pages("/v1/customers?payment_terms_days=61")) == 1
    assert len(crm.pages("/v1/customers?credit_hold=false&industry=Typed")) == 1
    assert crm.pages("/v1/customers?credit_hold=true&industry=Typed") == []
    for wrong in ("payment_terms_days=many", "credit_hold=maybe", "nothing=1", "lines=1", "industry=a&industry=b"):
        assert crm.get(f"/v1/customers?{wrong}").status == 400


@pytest.mark.parametrize("limit", ["0", "-1", "501", "ten", "1e3", ""])
def test_a_senseless_limit_is_refused(crm, limit):
    answer = crm.get(f"/v1/customers?limit={limit}")
    assert (answer.status, answer.json()["errors"][0]["pointer"]) == (422, "?limit")


def test_a_cursor_fits_only_where_it_came_from(crm):
    for number in range(2):
        crm.put(f"/v1/customers/salesforce:cursor{number}", CUSTOMER | {"industry": "Cursor"})
    cursor = crm.get("/v1/customers?industry=Cursor&limit=1").json()["next"]
    assert crm.get(f"/v1/customers?industry=Cursor&limit=1&cursor={cursor}").status == 200
    changed = ("B" if cursor[20] != "B" else "C").join((cursor[:20], cursor[21:]))
    for path in (
        f"/v1/customers?industry=Other&cursor={cursor}",
        f"/v1/contracts?cursor={cursor}",
        f"/v1/customers?industry=Cursor&cursor={changed}",
        "/v1/customers?cursor=%C3%BC",
        "/v1/customers?cursor=a",
    ):
        answer = crm.get(path)
        assert (answer.status, answer.json()["code"]) == (400, "bad_cursor")


def test_what_people_cost_is_hidden_without_the_right(api, hris):
    number = next(NUMBERS)
    person = hris.put(f"/v1/resources/bamboohr:{number}", RESOURCE | {"email": f"p{number}@nordlys.example"})
    assert person.status == 201, person.body
    place = f"/v1/cost-rates/bamboohr:{number}-1"
    made = hris.put(place, cost_rate(person.json()["gid"]))
    assert made.status == 201, made.body
    assert made.json()["decisions"][0]["fields"]["amount"] == "hidden"
    for path in (place, f"{place}/history", "/v1/cost-rates"):
        assert b"61.25" not in hris.get(path).body
    assert hris.get(place).json()["body"]["amount"] == "hidden"
    cleared = api("objects:read", "cost:read")
    assert cleared.get(place).json()["body"]["amount"] == "61.2550"
    assert b"61.2550" in cleared.get(f"{place}/history").body
    assert api("admin").get(place).json()["body"]["amount"] == "hidden"


def test_nobody_finds_out_a_cost_by_asking_for_it(api, hris):
    assert hris.get("/v1/cost-rates?amount=61.2550").status == 403
    assert hris.get("/v1/cost-rates?amount=1").status == 403
    assert api("objects:read", "cost:read").get("/v1/cost-rates?amount=61.2550").status == 200


def test_the_answer_to_a_command_shows_no_cost_because_it_is_kept(api, hris, house):
    number = next(NUMBERS)
    mail = f"p{number}@nordlys.example"
    person = hris.put(f"/v1/resources/bamboohr:{number}", RESOURCE | {"email": mail}).json()["gid"]
    place = f"/v1/cost-rates/bamboohr:{number}-1"
    cleared = api("objects:write", "role:hris", "cost:read", name="payroll")
    assert b"61.25" not in cleared.put(place, cost_rate(person), key="same").body
    assert hris.put(place, cost_rate(person), key="same").status == 428
    with house.database.transaction() as tx:
        assert tx.value("select count(*) from requests where body::text like '%%61.25%%'") == 0


def test_the_same_command_twice_is_done_once(crm, place):
    first = crm.put(place, CUSTOMER, key=f"once-{place}")
    again = crm.put(place, CUSTOMER, key=f"once-{place}")
    assert (again.status, again.body) == (first.status, first.body)
    assert again.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    assert again.headers["etag"] == first.headers["etag"]
    assert crm.get(place).headers["etag"] == '"1"'


def test_a_key_belongs_to_one_body_and_one_path(crm, place):
    crm.put(place, CUSTOMER, key=f"reuse-{place}")
    other_body = crm.put(place, CUSTOMER | {"name": "Other"}, key=f"reuse-{place}")
    assert (other_body.status, other_body.json()["code"]) == (422, "key_reused")
    assert crm.put(f"{place}X", CUSTOMER, key=f"reuse-{place}").status == 422


def test_a_refused_command_uses_up_no_key(crm, place):
    assert crm.put(place, {"name": "No country"}, key=f"retry-{place}").status == 422
    assert crm.put(place, CUSTOMER, key=f"retry-{place}").status == 201


@pytest.mark.parametrize("key", ["", "x" * 201, "tab\tkey"])
def test_a_command_without_a_sound_key_is_refused(crm, place, key):
    answer = crm.put(place, CUSTOMER, headers={"Idempotency-Key": key})
    assert (answer.status, answer.json()["code"]) == (400, "key_missing")


def test_many_callers_with_one_key_make_one_object(crm, place):
    """Whoever comes while the first is at work is told so (409), whoever comes later gets the first one's answer."""
    answers = []

    def put() -> None:
        answers.append(crm.put(place, CUSTOMER, key=f"race-{place}"))

    threads = [threading.Thread(target=put) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status for answer in answers} <= {201, 409}
    assert len({answer.body for answer in answers if answer.status == 201}) == 1
    assert sum("idempotency-replayed" not in answer.headers for answer in answers if answer.status == 201) == 1
    assert all(answer.json()["code"] == "in_flight" for answer in answers if answer.status == 409)
    assert crm.get(place).headers["etag"] == '"1"'


def test_many_callers_with_keys_of_their_own_never_overwrite_each_other(crm, place):
    answers = []

    def put(number: int) -> None:
        answers.append(crm.put(place, CUSTOMER | {"name": f"Caller {number}"}).status)

    threads = [threading.Thread(target=put, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(set(answers) - {409, 428}) == [201]
    assert answers.count(201) == 1
    assert crm.get(place).headers["etag"] == '"1"'


def test_every_kind_can_be_listed(api, house):
    document = api("admin").get("/v1/openapi.json").json()
    lists = [
        path for path, methods in document["paths"].items() if path + "/{id}" in document["paths"] and "get" in methods
    ]
    assert len(lists) == 15
    for path in [*lists, "/v1/billing-events"]:
        answer = api("admin").get(path)
        assert answer.status == 200, path
        assert set(answer.json()) == {"items", "next"}
