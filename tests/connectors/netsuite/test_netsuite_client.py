"""The client reads every change once, writes every record once, and names each refusal."""

import json
import time

import httpx2
import msgspec
import pytest
from netsuite_bodies import connect, customer, invoice, job, line

from trueup.connectors.netsuite import client as netsuite_client
from trueup.connectors.netsuite.client import RECORDS_A_CALL, Cursor, NetSuite
from trueup.connectors.sdk import registry
from trueup.connectors.sdk.wire import Answer, Connection, Notice, Record
from trueup.kernel.errors import Broken, Busy, Refused, Unsettled
from trueup.kernel.ids import derive
from trueup.kernel.strict_json import read
from trueup.mapping.file import load
from trueup.mapping.outward import outward
from trueup.mapping.translate import translate

CONNECTOR = registry.load("netsuite")
CASES = {path.stem: json.loads(path.read_text("utf-8")) for path in (CONNECTOR.folder / "cases").glob("*.json")}


def mapping(name: str):
    return load(CONNECTOR.mappings[name], CONNECTOR.verbs)


def everything(client, object: str, cursor: str | None = None) -> tuple[list[Record], str]:
    """Read a round to its end."""
    records: list[Record] = []
    for _ in range(1000):
        page = client.changes(object, cursor)
        records += page.records
        cursor = page.cursor
        if not page.more:
            return records, cursor
    raise AssertionError("a round without an end")


@pytest.fixture
def settled(monkeypatch):
    """Every read happens after the second of the changes it sees: no waiting."""
    monkeypatch.setattr(netsuite_client, "over", lambda stamp, answer: True)


def a_second_later(account) -> None:
    """Let the account's clock go on to the next second."""
    account.store._last_us = max(account.store._last_us, time.time_ns() // 1000) + 1_000_000


# --- reading -----------------------------------------------------------------------------------------------------


def test_a_record_is_the_bytes_that_came(client, web, settled, buyer):
    (record,), _ = everything(client, "customer")
    raw = web.call("GET", f"/record/v1/customer/{buyer}?expandSubResources=true").content
    assert record.raw == raw
    assert (record.object, record.external_id) == ("customer", buyer)
    assert record.stamp == json.loads(raw)["lastModifiedDate"]


def test_many_changes_are_read_in_pages_each_once(client, account, settled):
    for number in range(130):
        account.create("customer", customer(companyName=f"Buyer {number}"))
    first = client.changes("customer", None)
    assert len(first.records) == RECORDS_A_CALL
    assert first.more
    records, cursor = everything(client, "customer")
    ids = [record.external_id for record in records]
    assert sorted(ids) == sorted(account.store.table("customer"))
    assert len(ids) == len(set(ids))
    assert everything(client, "customer", cursor)[0] == []


def test_each_record_type_reads_its_own_transactions(client, account, web, settled, buyer):
    id = web.put("invoice", "inv_1", invoice(buyer))
    account.approve_invoice(id)
    payment = account.receive_payment(id, "100.00", "2026-09-10")["id"]
    credit = account.credit_invoice(id, 1, "1", "2026-09-11")["id"]
    assert [record.external_id for record in everything(client, "invoice")[0]] == [id]
    assert [record.external_id for record in everything(client, "customerPayment")[0]] == [payment]
    assert [record.external_id for record in everything(client, "creditMemo")[0]] == [credit]
    assert everything(client, "journalEntry")[0] == []


def test_a_change_after_the_cursor_is_read(client, account, settled, buyer):
    _, cursor = everything(client, "customer")
    a_second_later(account)
    account.edit("customer", buyer, {"email": "ap@juniper.example"})
    records, cursor = everything(client, "customer", cursor)
    assert [record.external_id for record in records] == [buyer]
    assert everything(client, "customer", cursor)[0] == []


def test_a_record_that_shows_up_late_is_not_skipped(client, account, settled, buyer):
    """A long transaction commits with a stamp that lies before what was read meanwhile."""
    _, cursor = everything(client, "customer")
    late = account.create("customer", customer(companyName="Late"))
    row = dict(late, lastModifiedDate=account.store.table("customer")[buyer]["lastModifiedDate"])
    account.store.put("customer", late["id"], row)
    assert [record.external_id for record in everything(client, "customer", cursor)[0]] == [late["id"]]


def test_a_record_is_taken_only_when_the_second_it_changed_in_is_over(client, account, buyer, monkeypatch):
    """NetSuite's stamps are whole seconds: a second change in the same one leaves no trace in them."""
    waits = []

    def meanwhile(seconds: float) -> None:
        waits.append(seconds)
        there = account.store.table("customer")[buyer]
        account.store.put("customer", buyer, dict(there, companyName="Changed in the same second"))
        monkeypatch.setattr(netsuite_client, "over", lambda stamp, answer: True)

    monkeypatch.setattr(netsuite_client, "over", lambda stamp, answer: False)
    monkeypatch.setattr(netsuite_client.time, "sleep", meanwhile)
    (record,), _ = everything(client, "customer")
    assert len(waits) == 1
    assert b"Changed in the same second" in record.raw


def test_a_fresh_change_costs_about_a_second_and_an_old_one_nothing(client, account, web):
    web.put("customer", "cus_new", customer())
    began = time.monotonic()
    _, cursor = everything(client, "customer")
    assert time.monotonic() - began < 4
    began = time.monotonic()
    everything(client, "customer", cursor)
    everything(client, "customer")
    assert time.monotonic() - began < 0.9


def test_a_mass_update_within_one_second_is_read_to_its_end(client, account, settled, monkeypatch):
    monkeypatch.setattr(netsuite_client, "MOST_ROWS", 60)
    for number in range(200):
        made = account.create("customer", customer(companyName=f"Buyer {number}"))
        account.store.put("customer", made["id"], made | {"lastModifiedDate": "2026-09-01T00:00:00Z"})
    records, cursor = everything(client, "customer")
    assert len({record.external_id for record in records}) == len(records) == 200
    assert everything(client, "customer", cursor)[0] == []


def test_a_cursor_stays_small_and_looks_back_less_far_when_very_much_changes(client, account, settled, monkeypatch):
    monkeypatch.setattr(netsuite_client, "MOST_SEEN", 20)
    for number in range(120):
        made = account.create("customer", customer(companyName=f"Buyer {number}"))
        stamp = f"2026-09-01T00:{number // 60:02d}:{number % 60:02d}Z"
        account.store.put("customer", made["id"], made | {"lastModifiedDate": stamp})
    records, cursor = everything(client, "customer")
    assert len({record.external_id for record in records}) == len(records) == 120
    assert len(msgspec.json.decode(cursor, type=Cursor).seen) <= 21
    assert everything(client, "customer", cursor)[0] == []


def test_the_users_time_zone_does_not_matter(client, account, settled, buyer):
    account.utc_offset_hours = -8
    records, cursor = everything(client, "customer")
    assert [record.external_id for record in records] == [buyer]
    assert records[0].stamp.endswith("Z")
    assert everything(client, "customer", cursor)[0] == []
    other = account.create("customer", customer(companyName="Next"))["id"]
    assert [record.external_id for record in everything(client, "customer", cursor)[0]] == [other]


def test_a_deletion_is_told_once(client, sandbox, account, settled, buyer):
    other = account.create("customer", customer(companyName="Gone"))["id"]
    _, cursor = everything(client, "customer")
    account.remove("customer", other)
    (gone,), cursor = everything(client, "customer", cursor)
    assert (gone.external_id, gone.deleted) == (other, True)
    assert json.loads(gone.raw)["recordid"] == other
    assert everything(client, "customer", cursor)[0] == []
    blind = connect(sandbox, deletions="off")
    assert not any(record.deleted for record in everything(blind, "customer")[0])
    blind.close()


def test_get_fetch_and_find(client, settled, buyer):
    assert client.get("customer", buyer).external_id == buyer
    assert client.get("customer", "99") is None
    assert [record.external_id for record in client.fetch("customer", ["99", buyer])] == [buyer]
    assert client.find("customer", "cus_buyer").external_id == buyer
    assert client.find("customer", "cus_nobody") is None
    with pytest.raises(Broken, match="external id"):
        client.find("customer", "eid:with.dots")


# --- writing -----------------------------------------------------------------------------------------------------


def test_sending_twice_is_one_record_and_find_sees_it(client, account):
    first = client.send("customer", "cus_1", customer(), None)
    second = client.send("customer", "cus_1", customer(companyName="Juniper"), None)
    third = client.send("customer", "cus_1", customer(companyName="Juniper Ltd"), first.external_id)
    assert first.external_id == second.external_id == third.external_id == client.find("customer", "cus_1").external_id
    assert len(account.store.table("customer")) == 1


def test_sending_an_invoice_again_replaces_its_lines(client, web, buyer):
    body = invoice(buyer, line("a"), line("b"))
    first = client.send("invoice", "inv_1", body, None)
    client.send("invoice", "inv_1", body, None)
    client.send("invoice", "inv_1", body, first.external_id)
    assert [item["custcol_trueup_line"] for item in web.record("invoice", first.external_id)["item"]["items"]] == [
        "a",
        "b",
    ]


def test_a_record_without_our_key_takes_it_over(client, account):
    there = account.create("customer", customer())["id"]
    assert client.send("customer", "cus_1", customer(companyName="Ours"), there).external_id == there
    assert client.find("customer", "cus_1").external_id == there


def test_a_lost_answer_and_a_second_try_leave_one_record(sandbox, account):
    """The write is committed, then the connection breaks before the answer is through."""
    client = connect(sandbox)
    client.auth.header(client._post_form)
    sandbox.host.chaos.use(["unk"])
    lost = 0
    for number in range(60):
        key, body = f"cus_{number}", customer(companyName=f"Buyer {number}")
        for _ in range(6):
            try:
                receipt = client.send("customer", key, body, None)
            except Unsettled:
                lost += 1
                assert client.find("customer", key) is not None
            else:
                assert client.find("customer", key).external_id == receipt.external_id
                break
    sandbox.host.chaos.use([])
    assert lost > 0
    assert len(account.store.table("customer")) == 60
    client.close()


def test_a_lost_answer_to_a_query_is_only_busy(sandbox, settled, buyer):
    client = connect(sandbox)
    client.auth.header(client._post_form)
    sandbox.host.chaos.use(["unk"])
    busy = 0
    for _ in range(100):
        try:
            client.changes("customer", None)
        except Busy:
            busy += 1
    assert busy > 0
    client.close()


def test_an_invoice_approved_before_the_second_try_is_done(client, account, web, buyer):
    body = invoice(buyer, approvalStatus={"id": "1"})
    first = client.send("invoice", "inv_1", body, None)
    account.approve_invoice(first.external_id)
    again = client.send("invoice", "inv_1", body, None)
    assert again.external_id == first.external_id
    with pytest.raises(Refused) as no:
        client.send("invoice", "inv_1", invoice(buyer, line(amount=7), approvalStatus={"id": "1"}), None)
    assert no.value.code in ("USER_ERROR", "APPROVED")
    with pytest.raises(Refused) as no:
        client.send("invoice", "inv_1", invoice(buyer, line(amount=7)), first.external_id)
    assert no.value.code == "APPROVED"


def test_refusals_carry_a_code_from_the_table_and_a_path(client, account, buyer):
    def refusal(kind: str, body, key: str = "x_1") -> tuple[str, str]:
        with pytest.raises(Refused) as no:
            client.send(kind, key, body, None)
        assert no.value.code in CONNECTOR.manifest.refusals
        return no.value.code, no.value.path

    assert refusal("customer", customer(shoeSize=1)) == ("INVALID_CONTENT", "shoeSize")
    assert refusal("customer", customer(subsidiary={"id": "9"})) == ("INVALID_KEY_OR_REF", "subsidiary")
    assert refusal("invoice", invoice(buyer, line(item={"id": "9"}))) == ("INVALID_CONTENT", "item.items[0].item")
    client.send("job", "prj_1", job(buyer), None)
    assert refusal("job", job(buyer)) == ("ALREADY_EXISTS", "entityId")
    account.close_period("2026-08")
    assert refusal("invoice", invoice(buyer)) == ("CLOSED_PERIOD", "tranDate")
    assert refusal("invoice", invoice(buyer, tranDate="2026-09-01", currency={"id": "1"}))[0] == "USER_ERROR"
    assert refusal("account", {"acctNumber": "1"})[0] == "INSUFFICIENT_PERMISSION"
    assert refusal("spaceship", {})[0] == "NONEXISTENT_RECORD_TYPE"


def test_waiting_and_being_down_are_busy(sandbox, account):
    client = connect(sandbox)
    client.auth.header(client._post_form)
    for fault in ("429", "5xx"):
        sandbox.host.chaos.use([fault])
        busy = 0
        for number in range(150):
            try:
                client.send("customer", f"c_{fault}_{number}", customer(companyName=f"B {fault} {number}"), None)
            except Busy:
                busy += 1
        assert busy > 0
    assert len(account.store.table("customer")) < 300
    client.close()


def test_a_record_somebody_is_saving_can_be_tried_again(client):
    body = {"title": "Conflict", "status": 409, "o:errorDetails": [{"o:errorCode": "RCRD_HAS_BEEN_CHANGED"}]}
    answer = Answer(409, {}, json.dumps(body).encode())
    assert isinstance(client.trouble("PATCH", answer), Busy)


def test_an_error_that_is_no_json_is_still_named(client):
    found = client.trouble("PUT", Answer(400, {}, b"<html>proxy</html>"))
    assert isinstance(found, Refused)
    assert found.code == "400"


# --- what vendors' documents show --------------------------------------------------------------------------------


def test_the_documented_invoice_becomes_what_the_case_says():
    case = CASES["invoice_retrieved"]
    (made,) = translate(mapping("invoice.in.yaml"), read(json.dumps(case["record"]).encode()))
    assert made.problems == ()
    assert made.external_id == case["record"]["id"]
    assert made.own == case["record"]["externalId"]
    assert made.stamp == case["record"]["lastModifiedDate"]
    assert {name: str(made.values[name]) for name in case["becomes"]} == case["becomes"]


def test_the_documented_error_is_read(client):
    case = CASES["error_invalid_reference"]
    found = client.trouble("POST", Answer(case["status"], {}, json.dumps(case["body"]).encode()))
    assert (found.code, found.path) == (case["becomes"]["code"], case["becomes"]["path"])
    limit = CASES["concurrency_limit"]
    busy = client.trouble("PUT", Answer(limit["status"], {}, json.dumps(limit["body"]).encode()))
    assert isinstance(busy, Busy)
    assert busy.retry_after is None


def test_the_documented_query_page_is_read(client, monkeypatch):
    raw = json.dumps(CASES["suiteql_answer"]["body"]).encode()
    monkeypatch.setattr(client, "call", lambda *_, **__: Answer(200, {}, raw))
    rows, _, more = client._query("SELECT 1")
    assert [row.id for row in rows] == ["2215", "2216"]
    assert more


def test_every_case_names_its_source_and_day():
    for case in CASES.values():
        assert case["source"].startswith(("https://docs.oracle.com/", "Samples for the suite"))
        assert (case.get("read_on") or case["date"]) >= "2026-01-01"


def test_the_simulator_shows_an_invoice_the_way_the_document_does(account, web, buyer):
    id = web.put("invoice", "inv_1", invoice(buyer))
    account.approve_invoice(id)
    documented = CASES["invoice_retrieved"]["record"]
    shown = web.call("GET", f"/record/v1/invoice/{id}").json()
    for name in set(shown) & set(documented):
        assert type(shown[name]) is type(documented[name]), name
        if isinstance(shown[name], dict):
            assert set(shown[name]) <= {"links", "id", "refName"}


# --- mappings against the simulator ------------------------------------------------------------------------------


def test_what_the_mappings_make_the_account_takes_and_gives_back(client, account, settled):
    ids: dict[tuple[str, str], str] = {}

    def send(file: str, kind: str, source: dict) -> str:
        made = outward(mapping(file), source, lambda gid, object: ids.get((gid, object)))
        assert (made.problems, made.waits_for) == ((), ())
        receipt = client.send(kind, source["gid"], made.body, None)
        ids[source["gid"], kind] = receipt.external_id
        return receipt.external_id

    gid = {kind: derive(kind, "1") for kind in ("customer", "contract", "project", "resource", "task", "assignment")}
    buyer = send(
        "customer.out.yaml",
        "customer",
        {
            "gid": gid["customer"],
            "status": "active",
            "name": "Juniper Clinics",
            "country": "DE",
            "currency": "EUR",
            "payment_terms_days": 30,
        },
    )
    send(
        "employee.out.yaml",
        "employee",
        {
            "gid": gid["resource"],
            "status": "active",
            "worker_number": "1001",
            "name": "Ada Stone",
            "email": "ada.stone@nordlys.example",
            "legal_entity": "DE01",
            "department": "Consulting",
            "role": "Analyst",
            "hired_on": "2025-01-01",
        },
    )
    common = {"legal_entity": "DE01", "currency": "EUR", "customer": gid["customer"], "contract": gid["contract"]}
    send(
        "job.out.yaml",
        "job",
        {
            "gid": gid["project"],
            "status": "planned",
            "code": "D14-DE01",
            "name": "Plant assessment",
            "manager": gid["resource"],
            "budget": "246000.00",
            **common,
        },
    )
    send(
        "projectTask.out.yaml",
        "projectTask",
        {
            "gid": gid["task"],
            "status": "open",
            "project": gid["project"],
            "name": "Build",
            "planned_hours": "80.25",
            "billable": True,
        },
    )
    send(
        "resourceAllocation.out.yaml",
        "resourceAllocation",
        {
            "gid": gid["assignment"],
            "status": "hard",
            "resource": gid["resource"],
            "project": gid["project"],
            "starts_on": "2026-08-03",
            "ends_on": "2026-10-30",
            "planned_minutes": 5410,
        },
    )
    lines = [
        {"key": "L1", "package": "ADV-TM", "billing_method": "time_and_materials", "amount": "246000.00"}
        | {"legal_entity": "DE01", "currency": "EUR"}
    ]
    send(
        "salesOrder.out.yaml",
        "salesOrder",
        {
            "gid": gid["contract"],
            "status": "active",
            "code": "D14",
            "name": "Plant assessment",
            "starts_on": "2026-08-03",
            **common,
            "lines": lines,
        },
    )
    bill = {
        "gid": derive("invoice", "D14-DE01-2026-08"),
        "status": "draft",
        "code": "D14-DE01-2026-08",
        "project": gid["project"],
        "invoice_date": "2026-08-31",
        "due_on": "2026-09-30",
        "period": "2026-08",
        "tax_treatment": "domestic_de",
        "net": "1071.93",
        "tax": "203.67",
        "gross": "1275.60",
        "lines": [
            {"key": "1-time-Analyst-0000120.00", "description": "Analyst", "quantity": "8.3333", "unit": "hour"}
            | {"rate": "120.00", "net": "1000.00", "charge_kind": "time"},
            {"key": "2-expense-Taxi", "description": "Expenses: Taxi", "quantity": "2", "unit": "each"}
            | {"net": "71.93", "charge_kind": "expense"},
        ],
        **common,
    }
    id = send("invoice.out.yaml", "invoice", bill)
    send(
        "journalEntry.out.yaml",
        "journalEntry",
        {
            "gid": derive("journal_reference", "REV-DE01-2026-08"),
            "status": "expected",
            "code": "REV-DE01-2026-08",
            "legal_entity": "DE01",
            "currency": "EUR",
            "period": "2026-08",
            "posted_on": "2026-08-31",
            "lines": [
                {"account": "1150", "debit": "1071.93", "credit": "0.00", "contract": gid["contract"]},
                {"account": "4000", "debit": "0.00", "credit": "1071.93", "contract": gid["contract"]},
            ],
        },
    )

    def back(file: str, record: Record):
        (made,) = translate(mapping(file), read(record.raw))
        assert made.problems == ()
        return made

    draft = back("invoice.in.yaml", client.get("invoice", id))
    assert (draft.own, draft.values["status"], draft.values["number"]) == (bill["gid"], "submitted", None)
    assert {name: str(draft.values[name]) for name in ("net", "tax", "gross", "balance")} == {
        "net": "1071.93",
        "tax": "203.67",
        "gross": "1275.60",
        "balance": "1275.60",
    }
    account.approve_invoice(id)
    account.receive_payment(id, "500.00", "2026-09-10")
    account.credit_invoice(id, "1-time-Analyst-0000120.00", "4", "2026-09-14")
    posted = back("invoice.in.yaml", client.get("invoice", id))
    assert (posted.values["status"], str(posted.values["balance"])) == ("part_paid", "204.40")
    assert posted.values["posted_on"] == "2026-08-31"
    (credit,), _ = everything(client, "creditMemo")
    memo = back("creditMemo.in.yaml", credit).values
    assert (memo["corrects"].external_id, memo["project"].external_id) == (id, ids[gid["project"], "job"])
    assert (memo["code"], memo["contract"], memo["period"]) == ("CM-DE01-C-2026-000001", gid["contract"], "2026-09")
    assert (str(memo["net"]), str(memo["tax"]), str(memo["lines"][0]["quantity"])) == ("480.00", "91.20", "4.0")
    assert memo["lines"][0]["key"] == "1-time-Analyst-0000120.00"
    (paid,), _ = everything(client, "customerPayment")
    payment = back("customerPayment.in.yaml", paid).values
    assert (payment["status"], payment["applications"][0]["invoice"].external_id) == ("applied", id)
    (entry,), _ = everything(client, "journalEntry")
    assert back("journalEntry.in.yaml", entry).values == {"number": "DE01-J-2026-000001", "status": "posted"}
    who = back("customer.in.yaml", client.get("customer", buyer))
    assert who.values == {"customer_number": "C10001", "credit_hold": False}


# --- calls of the script -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "notices"),
    [
        ({"recordType": "invoice", "id": "7", "type": "approve"}, [Notice("invoice", "7", "update")]),
        ({"recordType": "creditmemo", "id": 7, "type": "create"}, [Notice("creditMemo", "7", "create")]),
        ({"recordType": "customer", "id": "7", "type": "delete"}, [Notice("customer", "7", "delete")]),
        ({"recordType": "vendor", "id": "7", "type": "edit"}, []),
        ({"recordType": "invoice"}, []),
        ({}, []),
    ],
)
def test_a_call_says_which_record_changed(body, notices):
    assert NetSuite.notices(body) == notices


# --- secrets -----------------------------------------------------------------------------------------------------


def test_no_secret_shows_in_what_a_person_may_see(sandbox, client):
    connection = sandbox.connection("netsuite")
    wrong = dict(connection.credentials, key_id="another")
    stranger = NetSuite(CONNECTOR.manifest, Connection("erp", connection.base_url, wrong, connection.token_url))
    with pytest.raises(Refused) as no:
        stranger.find("customer", "cus_1")
    assert no.value.code == "sign_in"
    text = f"{no.value!r} {connection!r}"
    assert "PRIVATE KEY" not in text
    assert connection.credentials["client_id"] not in text
    stranger.close()


def test_the_manifest_says_what_the_client_does(sandbox, client, buyer):
    manifest = CONNECTOR.manifest
    assert set(manifest.reads) == set(netsuite_client.TABLES)
    assert {write.dedupe for write in manifest.writes.values()} == {"A"}
    files = {name.removesuffix(".yaml") for name in CONNECTOR.mappings}
    back = {"job_withdrawn.out"}
    assert files == {f"{name}.in" for name in manifest.reads} | {f"{name}.out" for name in manifest.writes} | back
    for name, text in CONNECTOR.mappings.items():
        file = load(text, CONNECTOR.verbs)
        side = manifest.writes if file.outward else manifest.reads
        assert side[file.object].kind == file.kind.removeprefix("withdrawn_"), name
        if file.kind.startswith("withdrawn_"):  # it says one thing, whatever the object is
            continue
        assert len(file.text.examples) >= 2
        assert any(example.problems for example in file.text.examples)
    assert httpx2.get(client.base_url, trust_env=False).status_code == 401
