"""The simulated ERP's own rules: approval, numbers, payments, credits, periods, balance; and its calls to the hub."""

import json
import time

import pytest
from netsuite_bodies import FIRM, customer, invoice, job, journal, line, refused

from trueup.connectors.netsuite.sandbox import NetSuiteAccount
from trueup.connectors.sdk import registry
from trueup.connectors.sdk.simulate import Store
from trueup.connectors.sdk.webhook import refuse


def told(account) -> list[tuple[str, str, str]]:
    """Return (record type, id, event) of the calls that wait for the hub."""
    bodies = [json.loads(outgoing.body) for _, outgoing in account.outgoing()]
    return [(body["recordType"], body["id"], body["type"]) for body in bodies]


@pytest.fixture
def draft(web, buyer, project):
    """The id of an invoice that waits for approval: 1,020.00 net, 193.80 tax."""
    return web.put("invoice", "inv_1", invoice(buyer, job={"id": project}))


def test_a_draft_waits_for_approval_with_totals_of_the_erp(web, draft):
    record = web.record("invoice", draft)
    assert record["approvalStatus"] == {"id": "1", "refName": "Pending Approval"}
    assert record["status"]["refName"] == "Pending Approval"
    assert "tranId" not in record
    assert "postingPeriod" not in record
    assert (record["subtotal"], record["taxTotal"], record["total"]) == (1020.0, 193.8, 1213.8)
    assert (record["amountPaid"], record["amountRemaining"]) == (0.0, 1213.8)


def test_an_amount_need_not_be_quantity_times_rate(web, buyer):
    id = web.put("invoice", "inv_9", invoice(buyer, line(quantity=8.3333, rate=120, amount=1000), line(amount=5.5)))
    assert web.record("invoice", id)["subtotal"] == 1005.5
    lean = {name: value for name, value in line(quantity=1.5, rate=33.33).items() if name != "amount"}
    id = web.put("invoice", "inv_10", invoice(buyer, lean, taxTotal=0))
    assert web.record("invoice", id)["total"] == 50.0
    answer = web.call("POST", "/record/v1/invoice", invoice(buyer, line(amount=1.005)))
    assert refused(answer)[:2] == (400, "INVALID_CONTENT")


def test_only_people_approve(web, account, draft, buyer):
    for body in ({"approvalStatus": {"id": "2"}}, {"approvalStatus": {"id": "3"}}):
        assert refused(web.call("PATCH", f"/record/v1/invoice/{draft}", body)) == (400, "USER_ERROR", "approvalStatus")
    born = web.call("POST", "/record/v1/invoice", invoice(buyer, approvalStatus={"id": "2"}))
    assert refused(born) == (400, "USER_ERROR", "approvalStatus")
    account.approve_invoice(draft)
    record = web.record("invoice", draft)
    assert record["approvalStatus"]["refName"] == "Approved"
    assert record["status"]["refName"] == "Open"
    assert record["tranId"] == "DE01-2026-000001"
    assert record["postingPeriod"]["refName"] == "Aug 2026"


def test_numbers_have_no_gaps_in_each_subsidiary(web, account, buyer):
    us = web.put("customer", "cus_us", customer(subsidiary={"id": "1"}, currency={"id": "1"}))
    drafts = [web.put("invoice", f"de_{n}", invoice(buyer)) for n in range(4)]
    american = web.put("invoice", "us_1", invoice(us, subsidiary={"id": "1"}, currency={"id": "1"}))
    account.remove("invoice", drafts[1])
    for id in (drafts[2], drafts[0], american, drafts[3], drafts[0]):
        account.approve_invoice(id)
    numbers = sorted(row["tranId"] for row in account.store.table("invoice").values())
    assert numbers == ["DE01-2026-000001", "DE01-2026-000002", "DE01-2026-000003", "US01-2026-000001"]


def test_an_approved_invoice_keeps_its_amounts_against_the_api(web, account, draft, buyer):
    account.approve_invoice(draft)
    before = web.record("invoice", draft)
    for body in ({"taxTotal": 1}, {"tranDate": "2026-09-01"}, {"item": {"items": [line("x")]}}):
        assert refused(web.call("PATCH", f"/record/v1/invoice/{draft}", body))[:2] == (400, "USER_ERROR")
    assert web.call("PATCH", f"/record/v1/invoice/{draft}", {"memo": "checked"}).status_code == 204
    same = {"item": {"items": [line()]}}
    assert web.call("PATCH", f"/record/v1/invoice/{draft}?replace=item", same).status_code == 204
    assert web.record("invoice", draft)["total"] == before["total"]
    assert refused(web.call("DELETE", f"/record/v1/invoice/{draft}"))[:2] == (400, "USER_ERROR")
    with pytest.raises(ValueError, match="void"):
        account.remove("invoice", draft)


def test_payments_lower_what_is_due_until_nothing_is(web, account, draft):
    with pytest.raises(ValueError, match="not open"):
        account.receive_payment(draft, "10.00", "2026-09-10")
    account.approve_invoice(draft)
    half = account.receive_payment(draft, "606.90", "2026-09-10")
    record = web.record("invoice", draft)
    assert (record["status"]["refName"], record["amountPaid"], record["amountRemaining"]) == ("Open", 606.9, 606.9)
    payment = web.record("customerPayment", half["id"])
    assert payment["tranId"] == "DE01-P-2026-000001"
    assert payment["apply"]["items"][0]["doc"]["refName"] == "Invoice #DE01-2026-000001"
    with pytest.raises(ValueError, match=r"606\.90 is due"):
        account.receive_payment(draft, "606.91", "2026-09-12")
    account.receive_payment(draft, "606.90", "2026-09-12")
    assert web.record("invoice", draft)["status"]["refName"] == "Paid In Full"
    account.remove("customerPayment", half["id"])
    record = web.record("invoice", draft)
    assert (record["status"]["refName"], record["amountRemaining"]) == ("Open", 606.9)


def test_the_same_bank_reference_is_one_payment(account, draft):
    account.approve_invoice(draft)
    first = account.receive_payment(draft, "100.00", "2026-09-10", "SEPA-77")
    assert account.receive_payment(draft, "100.00", "2026-09-10", "SEPA-77")["id"] == first["id"]
    assert len(account.store.table("customerPayment")) == 1


def test_a_credit_takes_hours_of_one_line_with_tax_in_proportion(web, account, draft):
    account.approve_invoice(draft)
    memo = account.credit_invoice(draft, "1-time-Analyst-0000120.00", "4", "2026-09-14", "dispute 12")
    record = web.record("creditMemo", memo["id"])
    assert record["createdFrom"]["id"] == draft
    assert (record["subtotal"], record["taxTotal"], record["total"]) == (480.0, 91.2, 571.2)
    assert record["status"]["refName"] == "Fully Applied"
    assert record["tranId"] == "DE01-C-2026-000001"
    assert record["item"]["items"][0]["custcol_trueup_line"] == "1-time-Analyst-0000120.00"
    assert record["item"]["items"][0]["quantity"] == 4.0
    assert web.record("invoice", draft)["amountRemaining"] == 642.6
    assert account.credit_invoice(draft, 1, "4", "2026-09-14", "dispute 12")["id"] == memo["id"]
    with pytest.raises(ValueError, match="no line"):
        account.credit_invoice(draft, "9-nothing", "1", "2026-09-14")


def test_a_credit_of_a_paid_invoice_stays_open(web, account, draft):
    account.approve_invoice(draft)
    account.receive_payment(draft, "1213.80", "2026-09-10")
    memo = account.credit_invoice(draft, 1, "1", "2026-09-14")
    record = web.record("creditMemo", memo["id"])
    assert (record["status"]["refName"], record["amountRemaining"]) == ("Open", 142.8)
    assert web.record("invoice", draft)["status"]["refName"] == "Paid In Full"


def test_accounts_receivable_can_raise_a_line_behind_the_hubs_back(web, account, draft):
    account.approve_invoice(draft)
    account.receive_payment(draft, "1213.80", "2026-09-10")
    account.raise_line(draft, 1, "100.00")
    record = web.record("invoice", draft)
    assert (record["subtotal"], record["taxTotal"], record["total"]) == (1120.0, 193.8, 1313.8)
    assert (record["status"]["refName"], record["amountRemaining"]) == ("Open", 100.0)
    assert record["tranId"] == "DE01-2026-000001"


def test_a_void_keeps_the_number(web, account, draft):
    with pytest.raises(ValueError, match="approved"):
        account.void_invoice(draft)
    account.approve_invoice(draft)
    account.void_invoice(draft)
    account.void_invoice(draft)
    record = web.record("invoice", draft)
    assert (record["status"]["refName"], record["amountRemaining"]) == ("Voided", 0.0)
    assert record["tranId"] == "DE01-2026-000001"


def test_a_closed_period_takes_nothing(web, account, draft, buyer):
    account.close_period("2026-08", "DE01")
    late = web.call("POST", "/record/v1/invoice", invoice(buyer))
    assert refused(late) == (400, "USER_ERROR", "tranDate")
    assert "Aug 2026 is closed" in late.text
    assert refused(web.call("PATCH", f"/record/v1/invoice/{draft}", {"taxTotal": 1}))[:2] == (400, "USER_ERROR")
    assert refused(web.call("PATCH", f"/record/v1/invoice/{draft}", {"tranDate": "2026-09-01"}))[0] == 400
    assert refused(web.call("DELETE", f"/record/v1/invoice/{draft}"))[:2] == (400, "USER_ERROR")
    with pytest.raises(ValueError, match="closed"):
        account.approve_invoice(draft)
    web.put("invoice", "inv_sep", invoice(buyer, tranDate="2026-09-01"))
    assert web.record("accountingPeriod", "202608")["closed"] is False
    assert web.call("POST", "/record/v1/journalEntry", journal()).status_code == 204  # another subsidiary
    account.close_period("2026-08")
    assert web.record("accountingPeriod", "202608")["closed"] is True
    assert refused(web.call("POST", "/record/v1/journalEntry", journal()))[:2] == (400, "USER_ERROR")
    account.reopen_period("2026-08", "2")
    account.approve_invoice(draft)
    far = web.call("POST", "/record/v1/invoice", invoice(buyer, tranDate="2031-01-01"))
    assert refused(far) == (400, "USER_ERROR", "tranDate")


def test_a_journal_balances_or_does_not_exist(web):
    debit, credit = {"account": {"id": "115"}, "debit": 10.5}, {"account": {"id": "400"}, "credit": 10.5}
    for lines in (
        (debit, {**credit, "credit": 10.49}),
        (debit, {**credit, "credit": -10.5}),
        (debit, {**credit, "debit": 10.5}),
        ({"account": {"id": "115"}}, debit, credit),
    ):
        assert refused(web.call("POST", "/record/v1/journalEntry", journal(*lines)))[:2] == (400, "USER_ERROR")
    answer = web.call("POST", "/record/v1/journalEntry", journal())
    record = web.record("journalEntry", answer.headers["location"].rpartition("/")[2])
    assert record["tranId"] == "US01-J-2026-000001"
    assert record["status"]["refName"] == "Approved for Posting"
    both = journal({**debit, "credit": 0}, {**credit, "debit": 0})
    assert web.call("POST", "/record/v1/journalEntry", both).status_code == 204


def test_subsidiary_customer_project_and_currency_belong_together(web, account, buyer, project):
    assert refused(web.call("POST", "/record/v1/invoice", invoice(buyer, currency={"id": "1"})))[2] == "currency"
    other = invoice(buyer, subsidiary={"id": "1"}, currency={"id": "1"}, job={"id": project})
    assert refused(web.call("POST", "/record/v1/invoice", other))[1:] == ("USER_ERROR", "job")
    account.shared_customers = False
    alone = web.put("customer", "cus_alone", customer(companyName="Alone"))
    wrong = invoice(alone, subsidiary={"id": "1"}, currency={"id": "1"})
    assert refused(web.call("POST", "/record/v1/invoice", wrong)) == (400, "USER_ERROR", "subsidiary")
    answer = web.call("PATCH", f"/record/v1/job/{project}", {"subsidiary": {"id": "1"}})
    assert refused(answer) == (400, "USER_ERROR", "subsidiary")


def test_orders_tasks_people_and_allocations_are_kept(web, buyer, project):
    body = {name: value for name, value in invoice(buyer).items() if name != "dueDate"}
    order = web.put("salesOrder", "con_1", body)
    assert web.record("salesOrder", order)["status"]["refName"] == "Pending Billing"
    person = web.put("employee", "res_1", {"firstName": "Ada", "lastName": "Stone", "subsidiary": {"id": "2"}})
    assert web.record("employee", person)["entityId"] == "Ada Stone"
    task = web.put("projectTask", "tsk_1", {"title": "Build", "company": {"id": project}, "estimatedWork": 80.25})
    assert web.record("projectTask", task)["company"]["refName"] == "Plant assessment"
    body = {
        "allocationResource": {"id": person},
        "project": {"id": project},
        "startDate": "2026-08-03",
        "endDate": "2026-10-30",
        "allocationAmount": 90,
        "allocationUnit": {"id": "H"},
        "allocationType": {"id": "1"},
    }
    id = web.put("resourceAllocation", "asg_1", body)
    assert web.record("resourceAllocation", id)["allocationType"]["refName"] == "Hard"
    bad = web.call("PATCH", f"/record/v1/resourceAllocation/{id}", {"startDate": "soon"})
    assert refused(bad) == (400, "INVALID_CONTENT", "startDate")


def test_payments_and_credits_through_the_api_follow_the_same_rules(web, account, draft, buyer):
    apply = {"items": [{"doc": {"id": draft}, "amount": 100, "apply": True}]}
    body = {"customer": {"id": buyer}, "payment": 100, "tranDate": "2026-09-10", "apply": apply}
    assert refused(web.call("POST", "/record/v1/customerPayment", body)) == (400, "USER_ERROR", "apply.items[0].doc")
    account.approve_invoice(draft)
    id = web.call("POST", "/record/v1/customerPayment", body).headers["location"].rpartition("/")[2]
    assert web.record("invoice", draft)["amountRemaining"] == 1113.8
    assert refused(web.call("PATCH", f"/record/v1/customerPayment/{id}", {"payment": 5}))[:2] == (400, "USER_ERROR")
    much = body | {"payment": 50}
    assert refused(web.call("POST", "/record/v1/customerPayment", much)) == (400, "USER_ERROR", "apply")
    assert web.call("DELETE", f"/record/v1/customerPayment/{id}").status_code == 204
    assert web.record("invoice", draft)["amountRemaining"] == 1213.8


def test_the_script_calls_the_hub_for_each_change_signed(account, web, draft, buyer):
    account.approve_invoice(draft)
    account.receive_payment(draft, "1213.80", "2026-09-10")
    payment = next(iter(account.store.table("customerPayment")))
    assert told(account) == [
        ("customer", buyer, "create"),
        ("invoice", draft, "create"),
        ("invoice", draft, "approve"),
        ("invoice", draft, "edit"),
        ("customerPayment", payment, "create"),
    ]
    _, call = next(iter(account.outgoing()))
    scheme = account.manifest.webhook
    headers = {name.lower(): value for name, value in call.headers.items()}
    assert refuse(scheme, account.webhook_secret, headers, call.body, time.time()) is None
    assert refuse(scheme, "another secret", headers, call.body, time.time()) is not None
    assert json.loads(call.body)["externalId"] == "cus_buyer"


def test_stamps_are_whole_seconds_and_never_go_back(web, account, draft):
    stamps = [web.record("invoice", draft)["lastModifiedDate"]]
    for change in (
        lambda: account.approve_invoice(draft),
        lambda: account.receive_payment(draft, "1.00", "2026-09-10"),
        lambda: account.edit("invoice", draft, {"memo": "checked"}),
    ):
        change()
        stamps.append(web.record("invoice", draft)["lastModifiedDate"])
    assert stamps == sorted(stamps)
    assert {len(stamp) for stamp in stamps} == {len("2026-08-31T10:00:00Z")}


def test_people_create_edit_and_remove_on_screens(account):
    row = {"id": "777", "companyName": "By hand", "subsidiary": {"id": "2"}, "currency": "2"}
    made = account.create("customer", row)
    assert account.create("customer", row) == made
    with pytest.raises(ValueError, match="other content"):
        account.create("customer", {**row, "companyName": "Other"})
    assert account.edit("customer", "777", {"creditHoldOverride": {"id": "ON"}})["creditHoldOverride"] == "ON"
    with pytest.raises(ValueError, match="Invalid Field Value"):
        account.edit("customer", "777", {"subsidiary": {"id": "99"}})
    with pytest.raises(ValueError, match="no customer"):
        account.edit("customer", "778", {})
    account.remove("customer", "777")
    account.remove("customer", "777")
    assert [event for _, _, event in told(account)] == ["create", "edit", "delete"]


def test_the_account_goes_on_after_a_restart(tmp_path):
    manifest = registry.load("netsuite").manifest
    journal_file = tmp_path / "netsuite.jsonl"

    def start() -> NetSuiteAccount:
        return NetSuiteAccount(manifest, Store(journal_file), {"client_id": "c", "key_id": "k"}, "secret")

    first = start()
    first.seed(FIRM)
    first.create("customer", {"externalId": "cus_1", **customer()})
    first.store.close()
    second = start()
    second.seed(FIRM)
    assert len(second.store.table("subsidiary")) == 3
    with pytest.raises(ValueError, match="already exists"):
        second.create("customer", {"externalId": "cus_1", **customer(companyName="Twin")})
    made = second.create("customer", {"externalId": "cus_2", **customer(companyName="Next")})
    assert made["entityId"] == "C10002"
    second.store.close()


def test_three_thousand_records_take_well_under_two_seconds():
    account = NetSuiteAccount(registry.load("netsuite").manifest, Store(), {}, "secret")
    account.seed(FIRM)
    buyer = account.create("customer", customer())["id"]
    project = account.create("job", job(buyer))["id"]
    began = time.perf_counter()
    for number in range(3000):
        account.create("projectTask", {"title": f"Task {number}", "company": project, "externalId": f"tsk_{number}"})
    assert time.perf_counter() - began < 2
