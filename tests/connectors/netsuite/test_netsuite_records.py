"""The simulated record service keeps SuiteTalk's contract."""

import pytest
from netsuite_bodies import customer, invoice, job, line, refused


def test_create_answers_204_with_the_new_records_address(web):
    answer = web.call("POST", "/record/v1/customer", customer())
    assert answer.status_code == 204
    assert answer.content == b""
    id = answer.headers["location"].rpartition("/record/v1/customer/")[2]
    record = web.record("customer", id)
    assert record["companyName"] == "Juniper Clinics"
    assert record["entityId"] == "C10001"
    assert record["subsidiary"]["refName"] == "Nordlys Consulting : Nordlys GmbH"
    assert record["subsidiary"]["links"][0]["href"].endswith("/services/rest/record/v1/subsidiary/2")
    assert record["lastModifiedDate"].endswith("Z")
    assert record["creditHoldOverride"] == {"id": "AUTO", "refName": "Auto"}


def test_upsert_makes_one_record_however_often_it_is_sent(web):
    first = web.put("customer", "cus_1", customer())
    second = web.put("customer", "cus_1", customer(companyName="Juniper"))
    assert first == second
    assert web.call("GET", "/record/v1/customer").json()["totalResults"] == 1
    assert web.record("customer", "eid:cus_1")["companyName"] == "Juniper"


def test_an_external_id_has_few_letters_and_one_owner(web):
    assert refused(web.call("PUT", "/record/v1/customer/eid:a.b", customer()))[:2] == (400, "INVALID_REQUEST")
    assert refused(web.call("PUT", "/record/v1/customer/7", customer()))[:2] == (400, "INVALID_REQUEST")
    buyer = web.put("customer", "one", customer())
    assert refused(web.call("PUT", "/record/v1/job/eid:one", job(buyer)))[:2] == (400, "USER_ERROR")
    other = web.call("PUT", "/record/v1/customer/eid:two", customer(externalId="three"))
    assert refused(other) == (400, "INVALID_CONTENT", "externalId")


def test_a_record_that_is_not_there_is_404(web):
    assert refused(web.call("GET", "/record/v1/customer/99"))[:2] == (404, "NONEXISTENT_ID")
    assert refused(web.call("GET", "/record/v1/customer/eid:none"))[:2] == (404, "NONEXISTENT_EXTERNAL_ID")
    assert refused(web.call("PATCH", "/record/v1/customer/99", {}))[:2] == (404, "NONEXISTENT_ID")
    assert refused(web.call("DELETE", "/record/v1/customer/99"))[:2] == (404, "NONEXISTENT_ID")
    assert refused(web.call("GET", "/record/v1/spaceship/1"))[0] == 404


@pytest.mark.parametrize(
    ("body", "code", "path"),
    [
        (customer(shoeSize=42), "INVALID_CONTENT", "shoeSize"),
        (customer(companyName=5), "INVALID_CONTENT", "companyName"),
        (customer(isInactive="T"), "INVALID_CONTENT", "isInactive"),
        (customer(subsidiary="2"), "INVALID_CONTENT", "subsidiary"),
        (customer(subsidiary={"id": "99"}), "INVALID_KEY_OR_REF", "subsidiary"),
        (customer(creditHoldOverride={"id": "MAYBE"}), "INVALID_KEY_OR_REF", "creditHoldOverride"),
        ({"companyName": "No subsidiary"}, "INVALID_CONTENT", "subsidiary"),
        (["no", "object"], "INVALID_CONTENT", ""),
    ],
)
def test_a_wrong_body_is_refused_with_the_place_of_the_mistake(web, body, code, path):
    assert refused(web.call("POST", "/record/v1/customer", body)) == (400, code, path)


def test_a_wrong_reference_on_a_line_is_named_with_its_line(web, buyer):
    answer = web.call("POST", "/record/v1/invoice", invoice(buyer, line(), line(item={"id": 9999})))
    assert refused(answer) == (400, "INVALID_CONTENT", "item.items[1].item")
    answer = web.call("POST", "/record/v1/invoice", invoice(buyer, line(amount="12.00")))
    assert refused(answer) == (400, "INVALID_CONTENT", "item.items[0].amount")
    answer = web.call("POST", "/record/v1/invoice", invoice(buyer, line(colour="red")))
    assert refused(answer) == (400, "INVALID_CONTENT", "item.items[0].colour")


def test_what_the_erp_computes_cannot_be_set(web, buyer):
    for name, value in (("total", 1), ("tranId", "X"), ("amountRemaining", 0), ("status", {"id": "Open"})):
        assert refused(web.call("POST", "/record/v1/invoice", invoice(buyer, **{name: value})))[2] == name


def test_an_unknown_property_passes_only_when_the_caller_asks_for_leniency(web):
    answer = web.call("POST", "/record/v1/customer", customer(shoeSize=42), X_NetSuite_PropertyNameValidation="Ignore")
    assert answer.status_code == 204


def test_a_change_keeps_what_it_does_not_name_and_null_deletes(web, buyer):
    assert web.call("PATCH", f"/record/v1/customer/{buyer}", {"email": "ap@juniper.example"}).status_code == 204
    assert web.record("customer", buyer)["email"] == "ap@juniper.example"
    assert web.call("PATCH", f"/record/v1/customer/{buyer}", {"email": None}).status_code == 204
    record = web.record("customer", buyer)
    assert "email" not in record
    assert record["companyName"] == "Juniper Clinics"
    answer = web.call("PATCH", f"/record/v1/customer/{buyer}", {"companyName": None})
    assert refused(answer) == (400, "INVALID_CONTENT", "companyName")


def test_lines_are_added_unless_the_sublist_is_replaced(web, buyer):
    id = web.put("invoice", "inv_1", invoice(buyer, line("a")))
    web.call("PATCH", f"/record/v1/invoice/{id}", {"item": {"items": [line("b")]}})
    assert [item["custcol_trueup_line"] for item in web.record("invoice", id)["item"]["items"]] == ["a", "b"]
    web.call("PATCH", f"/record/v1/invoice/{id}", {"item": {"items": [{"line": 1, "amount": 5}]}})
    assert [item["amount"] for item in web.record("invoice", id)["item"]["items"]] == [5.0, 1020.0]
    web.call("PUT", "/record/v1/invoice/eid:inv_1", invoice(buyer, line("c")))
    assert len(web.record("invoice", id)["item"]["items"]) == 3
    web.call("PATCH", f"/record/v1/invoice/{id}?replace=item", {"item": {"items": [line("d")]}})
    record = web.record("invoice", id)
    assert [item["custcol_trueup_line"] for item in record["item"]["items"]] == ["d"]
    assert record["total"] == 1213.8


def test_sublists_come_as_links_unless_expanded(web, buyer):
    id = web.put("invoice", "inv_1", invoice(buyer))
    plain = web.call("GET", f"/record/v1/invoice/{id}").json()
    assert set(plain["item"]) == {"links"}
    lines = web.call("GET", f"/record/v1/invoice/{id}/item").json()
    assert lines["items"][0]["item"]["refName"] == "TIME"
    assert refused(web.call("GET", f"/record/v1/invoice/{id}/nothing"))[0] == 404


def test_numbers_are_written_the_way_netsuite_writes_them(web, buyer):
    id = web.put("invoice", "inv_1", invoice(buyer, line(quantity=8.3333, amount=1000.5)))
    raw = web.call("GET", f"/record/v1/invoice/{id}?expandSubResources=true").text
    assert '"quantity":8.3333,' in raw
    assert '"amount":1000.5,' in raw
    assert '"rate":120.0,' in raw


def test_a_list_has_ids_only_and_pages_by_multiples_of_its_limit(web):
    for number in range(5):
        web.put("customer", f"cus_{number}", customer(companyName=f"Buyer {number}"))
    page = web.call("GET", "/record/v1/customer?limit=2&offset=2").json()
    assert [set(item) for item in page["items"]] == [{"links", "id"}] * 2
    assert (page["count"], page["hasMore"], page["offset"], page["totalResults"]) == (2, True, 2, 5)
    assert [link["rel"] for link in page["links"]] == ["self", "next", "last"]
    last = web.call("GET", "/record/v1/customer?limit=2&offset=4").json()
    assert (last["count"], last["hasMore"]) == (1, False)
    assert refused(web.call("GET", "/record/v1/customer?limit=2&offset=3"))[1:] == ("INVALID_PARAMETER", "offset")
    assert refused(web.call("GET", "/record/v1/customer?limit=1001"))[1:] == ("INVALID_PARAMETER", "limit")
    assert refused(web.call("GET", "/record/v1/customer?limit=x"))[1:] == ("INVALID_PARAMETER", "limit")


def test_a_list_can_be_filtered(web, buyer):
    web.put("customer", "cus_2", customer(companyName="Kite AND Sons", isInactive=True))

    def found(query: str) -> list[str]:
        answer = web._http.get("/record/v1/customer", params={"q": query}, headers=web._headers)
        assert answer.status_code == 200, answer.text
        return [item["id"] for item in answer.json()["items"]]

    assert found('externalId IS "cus_buyer"') == [buyer]
    assert found('companyName IS "Kite AND Sons" AND isInactive IS true') != []
    assert found('companyName START_WITH "Juniper" AND isInactive IS false') == [buyer]
    assert found(f"id EQUAL {buyer}") == [buyer]
    assert found("email EMPTY_NOT") == []
    for bad in ("nonsense", "shoeSize IS 4", "companyName EQUAL 4", "id EQUAL x"):
        answer = web._http.get("/record/v1/customer", params={"q": bad}, headers=web._headers)
        assert refused(answer) == (400, "INVALID_PARAMETER", "q")


def test_delete_takes_a_record_away_unless_others_depend_on_it(web, buyer, project):
    assert refused(web.call("DELETE", f"/record/v1/customer/{buyer}"))[:2] == (400, "USER_ERROR")
    assert web.call("DELETE", f"/record/v1/job/{project}").status_code == 204
    assert web.call("DELETE", f"/record/v1/customer/{buyer}").status_code == 204
    assert refused(web.call("GET", f"/record/v1/customer/{buyer}"))[0] == 404
    web.put("customer", "cus_buyer", customer())  # the external id is free again


def test_an_entity_number_names_one_entity(web, buyer, project):
    answer = web.call("PUT", "/record/v1/job/eid:prj_2", job(buyer))
    assert refused(answer) == (400, "USER_ERROR", "entityId")
    assert "already exists" in answer.text


def test_lists_of_the_account_are_read_only(web):
    answer = web.call("POST", "/record/v1/account", {"acctNumber": "9999", "acctName": "Mine"})
    assert refused(answer)[:2] == (403, "INSUFFICIENT_PERMISSION")
    assert web.record("account", "400")["acctNumber"] == "4000"
    assert web.record("serviceSaleItem", "1")["itemId"] == "TIME"
    assert web.record("salesTaxItem", "2")["rate"] == 19.0
    assert web.record("accountingPeriod", "202608")["endDate"] == "2026-08-31"


def test_an_asynchronous_write_is_a_job_and_its_key_counts_once(web):
    asked = {"Prefer": "respond-async", "X_NetSuite_idempotency_key": "5c1f0b7e-0001"}
    first = web.call("POST", "/record/v1/customer", customer(), **asked)
    assert (first.status_code, first.headers["preference-applied"]) == (202, "respond-async")
    job_place = first.headers["location"].partition("/services/rest")[2]
    again = web.call("POST", "/record/v1/customer", customer(), **asked)
    assert refused(again)[:2] == (400, "IDEMPOTENCY_ERROR")
    assert again.json()["title"] == "Conflict"
    assert again.headers["location"] == first.headers["location"]
    assert web.call("GET", job_place).json()["completed"] is False
    assert web.call("GET", job_place).json()["progress"] == "succeeded"
    task = web.call("GET", f"{job_place}/task/1").json()
    assert task["method"] == "POST"
    result = web.call("GET", f"{job_place}/task/1/result")
    assert result.status_code == 204
    assert "/record/v1/customer/" in result.headers["location"]
    assert web.call("GET", "/record/v1/customer").json()["totalResults"] == 1


def test_a_refused_asynchronous_write_shows_in_its_result_only(web):
    first = web.call("POST", "/record/v1/customer", {"companyName": "X"}, Prefer="respond-async")
    assert first.status_code == 202
    place = first.headers["location"].partition("/services/rest")[2]
    assert refused(web.call("GET", f"{place}/task/1/result"))[:2] == (400, "INVALID_CONTENT")
    assert refused(web.call("GET", "/async/v1/job/999"))[0] == 404


def test_the_answer_to_too_many_requests_has_no_retry_after(account):
    answer = account.throttled()
    assert answer.status == 429
    assert answer.body["o:errorDetails"][0]["o:errorCode"] == "CONCURRENCY_LIMIT_EXCEEDED"
    assert "Retry-After" not in answer.headers
    assert account.unavailable().status == 503
