"""Expense reports queue up until they are acknowledged, and are confirmed once."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest

from trueup.connectors.concur.client import TRANSACTIONS, Concur, Queue
from trueup.connectors.concur.sandbox import ConcurSimulator
from trueup.connectors.sdk import registry
from trueup.connectors.sdk.client import Pace
from trueup.connectors.sdk.wire import Connection, Record
from trueup.kernel.errors import Busy, Refused
from trueup.kernel.strict_json import read_kept
from trueup.mapping.examples import failures
from trueup.mapping.file import load
from trueup.mapping.translate import translate
from trueup.sandbox import host
from trueup.sandbox.chaos import RATES

ADA = {"email": "ada.stone@nordlys.example", "employee_id": "1007", "first_name": "Ada", "last_name": "Stone"}
CONFIRMATION: dict[str, Any] = {
    "overallPostingStatusCode": "success",
    "postingDocs": [{"companyId": "DE01", "documentNumber": "JRN-1", "postingDate": "2026-08-31"}],
    "systemMessages": [],
}


@pytest.fixture
def sandbox(tmp_path):
    with host.running(tmp_path, systems=["concur"]) as running:
        yield running


@pytest.fixture
def people(sandbox) -> ConcurSimulator:
    return sandbox.simulator("concur")


@pytest.fixture
def client(sandbox):
    made = connect(sandbox)
    yield made
    made.close()


def connect(sandbox, **options: str) -> Concur:
    base = sandbox.connection("concur")
    connection = Connection(base.system, base.base_url, base.credentials, base.token_url, "", options)
    made = Concur(registry.load("concur").manifest, connection)
    made.pace = Pace(1000, 4)
    return made


def entry(line: int = 1, **more: Any) -> dict[str, Any]:
    return {"line": line, "date": "2026-08-20", "type": "Taxi", "amount": "47.54", "project": "D14-DE01", **more}


def approve(people: ConcurSimulator, *numbers: str) -> None:
    with people.lock:
        for number in numbers:
            people.submit_report(number, ADA, "EUR", [entry()])
            people.approve_report(number)


def reports(records: tuple[Record, ...] | list[Record]) -> list[str]:
    return [json.loads(record.raw)["document"]["report"]["reportId"] for record in records]


def everything(client: Concur, *, acknowledge: bool) -> list[str]:
    found: list[str] = []
    cursor, more = None, True
    while more:
        page = client.changes("expense_document", cursor)
        found += reports(page.records)
        if acknowledge:
            client.settle("expense_document", page.records)
        cursor, more = page.cursor, page.more
    return found


def ask(sandbox, method: str, path: str, token: str = "", **request: Any) -> httpx2.Response:
    headers = ({"Authorization": f"Bearer {token}"} if token else {}) | request.pop("headers", {})
    return httpx2.request(method, f"{sandbox.url}/concur{path}", headers=headers, trust_env=False, **request)


def token_of(sandbox) -> str:
    form = {name: sandbox.connection("concur").credentials[name] for name in ("client_id", "client_secret")}
    form |= {"grant_type": "refresh_token", "refresh_token": sandbox.connection("concur").credentials["refresh_token"]}
    return str(ask(sandbox, "POST", "/oauth2/v0/token", data=form).json()["access_token"])


def test_a_document_is_listed_until_it_is_acknowledged(people, client):
    approve(people, "R001", "R002")
    assert everything(client, acknowledge=False) == ["R001", "R002"]
    assert everything(client, acknowledge=True) == ["R001", "R002"]
    assert everything(client, acknowledge=True) == []


@pytest.mark.parametrize("acknowledge", [True, False])
@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_small_pages_lose_and_double_nothing_whether_they_shrink_or_not(people, sandbox, size, acknowledge):
    numbers = [f"R{n:03}" for n in range(11)]
    approve(people, *numbers)
    client = connect(sandbox, page_size=str(size))
    assert everything(client, acknowledge=acknowledge) == numbers
    client.close()


def test_a_submitted_report_is_not_there_yet(people, client):
    people.submit_report("R001", ADA, "EUR", [entry()])
    assert everything(client, acknowledge=False) == []
    assert client.get("expense_document", "R001") is None


def test_acknowledging_again_is_done_but_a_recalled_report_is_told(people, client):
    approve(people, "R001", "R002")
    page = client.changes("expense_document", None)
    client.settle("expense_document", page.records[:1])
    client.settle("expense_document", page.records[:1])
    people.recall_report("R002")
    with pytest.raises(Refused, match="recalled") as no:
        client.settle("expense_document", page.records)
    assert no.value.code == "102"


def test_a_confirmation_is_found_and_repeated_without_a_second_one(people, client):
    approve(people, "R001")
    client.settle("expense_document", client.changes("expense_document", None).records)
    assert client.find("posting_confirmation", "R001") is None
    body = {**CONFIRMATION, "docId": "R001"}
    first = client.send("posting_confirmation", "exp_1", body, None)
    second = client.send("posting_confirmation", "exp_1", body, first.external_id)
    found = client.find("posting_confirmation", "R001")
    assert found is not None
    assert first.external_id == second.external_id == found.external_id
    assert [path for _, path in people.journal if "postingconfirmations" in path] == [
        TRANSACTIONS + "/postingconfirmations"
    ]
    assert people.store.table("documents")[first.external_id]["docStatus"] == "POSTING_CONFIRMED_SUCCESS"


def test_another_outcome_than_the_confirmed_one_is_refused(people, client):
    approve(people, "R001")
    people.acknowledge_report("R001")
    client.send("posting_confirmation", "R001", {**CONFIRMATION, "docId": "R001"}, None)
    with pytest.raises(Refused) as no:
        client.send("posting_confirmation", "R001", {**CONFIRMATION, "overallPostingStatusCode": "error"}, None)
    assert no.value.code == "113"


def test_a_lost_answer_is_found_and_the_repetition_changes_nothing(people, client, sandbox, monkeypatch):
    approve(people, "R001")
    people.acknowledge_report("R001")
    monkeypatch.setitem(RATES, "unk", 1.0)
    sandbox.control.faults(["unk"])
    with pytest.raises(Exception, match="did not answer"):
        client.send("posting_confirmation", "R001", CONFIRMATION, None)
    assert client.find("posting_confirmation", "R001") is not None
    client.send("posting_confirmation", "R001", CONFIRMATION, None)
    assert len(people.store.table("confirmations")) == 1


def test_a_failed_posting_sends_the_report_back_and_the_mended_one_is_a_new_document(people, client):
    approve(people, "R001")
    client.settle("expense_document", client.changes("expense_document", None).records)
    failed = {
        "docId": "R001",
        "overallPostingStatusCode": "error",
        "systemMessages": [{"messageShortText": "Line 1: unknown project."}],
    }
    old = client.send("posting_confirmation", "R001", failed, None)
    people.submit_report("R001", ADA, "EUR", [entry(project="D15-DE01")])
    people.approve_report("R001")
    page = client.changes("expense_document", None)
    assert reports(page.records) == ["R001"]
    assert page.records[0].external_id != old.external_id
    client.settle("expense_document", page.records)
    new = client.send("posting_confirmation", "R001", {**CONFIRMATION, "docId": "R001"}, old.external_id)
    assert new.external_id == page.records[0].external_id


def test_another_systems_document_is_refused_with_its_code(people, client):
    approve(people, "R001")
    people.acknowledge_report("R001", "OTHER")
    with pytest.raises(Refused) as no:
        client.send("posting_confirmation", "R001", CONFIRMATION, None)
    assert no.value.code == "99"


def test_a_confirmation_waits_for_an_acknowledgement_that_failed(people, client):
    approve(people, "R001")
    with pytest.raises(Busy):
        client.send("posting_confirmation", "R001", CONFIRMATION, None)
    everything(client, acknowledge=True)
    assert client.send("posting_confirmation", "R001", CONFIRMATION, None).external_id


def test_every_service_code_has_a_meaning():
    manifest = registry.load("concur").manifest
    wanted = {"99", "102", "103", "104", "105", "111", "112", "113", "114", "115", "116", "198"}
    assert wanted <= set(manifest.refusals)


def test_a_new_refresh_token_is_used_and_an_ended_access_token_replaced(people, client):
    approve(people, "R001")
    people.rotate_refresh_token()
    assert everything(client, acknowledge=False) == ["R001"]
    people.expire_tokens()
    assert everything(client, acknowledge=False) == ["R001"]
    assert client.auth._refresh_token == next(iter(people.store.table("_refresh_tokens")))


def test_a_wrong_secret_is_refused_and_not_shown(sandbox):
    base = sandbox.connection("concur")
    wrong = Connection("concur", base.base_url, {**base.credentials, "client_secret": "hunter2"}, base.token_url)
    client = Concur(registry.load("concur").manifest, wrong)
    with pytest.raises(Refused) as no:
        client.changes("expense_document", None)
    assert no.value.code == "sign_in"
    assert "hunter2" not in str(no.value) + repr(wrong)
    client.close()


def test_the_client_follows_its_company_between_the_vendors_hosts_only(sandbox):
    client = connect(sandbox)
    client.auth._move("https://eu.api.concursolutions.com")
    assert client.auth.base_url == sandbox.connection("concur").base_url
    client.auth.base_url = "https://us.api.concursolutions.com"
    client.auth._move("https://concursolutions.com.evil.example")
    client.auth._move("https://eu.api.concursolutions.com")
    assert client.auth.base_url == "https://eu.api.concursolutions.com"
    client.close()


@pytest.mark.parametrize(
    ("form", "status", "code"),
    [
        ({}, 400, 62),
        ({"client_id": "x", "client_secret": "y", "grant_type": "refresh_token"}, 401, 61),
        ({"client_id": None, "client_secret": "y", "grant_type": "refresh_token"}, 401, 64),
        ({"client_id": None, "client_secret": None, "grant_type": "client_credentials"}, 400, 60),
        ({"client_id": None, "client_secret": None, "grant_type": "refresh_token"}, 400, 106),
        ({"client_id": None, "client_secret": None, "grant_type": "refresh_token", "refresh_token": "no"}, 400, 108),
    ],
)
def test_sign_in_is_refused_in_the_vendors_words(sandbox, form, status, code):
    known = sandbox.connection("concur").credentials
    answer = ask(sandbox, "POST", "/oauth2/v0/token", data={k: v or known[k] for k, v in form.items()})
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert {"error", "error_description", "geolocation"} <= set(answer.json())


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/financialintegration/fi/v4/companies/transactiontypes/biscuits/transactions", 400),
        (f"{TRANSACTIONS}?limit=many", 400),
        (f"{TRANSACTIONS}?limit=0", 400),
        (f"{TRANSACTIONS}?page=-1", 400),
        (f"{TRANSACTIONS}?docId=R001&ignoreDocumentStatus=maybe", 400),
        ("/financialintegration/fi/v4/somewhere", 404),
    ],
)
def test_a_wrong_read_is_refused_with_a_message(sandbox, path, status):
    answer = ask(sandbox, "GET", path, token_of(sandbox))
    assert answer.status_code == status
    assert answer.json()["message"]


def test_without_a_token_nothing_is_shown(sandbox):
    assert ask(sandbox, "GET", TRANSACTIONS).status_code == 401
    assert ask(sandbox, "GET", TRANSACTIONS, "made-up").status_code == 401


@pytest.mark.parametrize(
    "item",
    [
        {},
        {"docId": "x" * 33, "overallPostingStatusCode": "success", "systemMessages": []},
        {"docId": "x", "overallPostingStatusCode": "posted", "systemMessages": []},
        {"docId": "x", "overallPostingStatusCode": "success"},
        {"docId": "x", "overallPostingStatusCode": "success", "systemMessages": [], "postingDocs": [{}]},
        {"docId": "x", "overallPostingStatusCode": "success", "systemMessages": [], "colour": "green"},
    ],
)
def test_a_confirmation_without_what_the_schema_demands_is_refused(sandbox, item):
    body = {"systemId": "TRUEUP", "postingConfirmations": [item]}
    answer = ask(sandbox, "POST", f"{TRANSACTIONS}/postingconfirmations", token_of(sandbox), json=body)
    assert answer.status_code == 400
    assert answer.json()["message"]


def test_a_page_says_how_many_there_are_and_where_the_next_is(people, sandbox):
    approve(people, "R001", "R002", "R003")
    answer = ask(sandbox, "GET", f"{TRANSACTIONS}?limit=2", token_of(sandbox)).json()
    assert answer["page"] == {"size": 2, "totalElements": 3, "totalPages": 2, "number": 0}
    assert [link["rel"] for link in answer["links"]] == ["first", "self", "next", "last"]
    assert answer["content"][0]["docStatus"] == "READY"
    text = ask(sandbox, "GET", TRANSACTIONS, token_of(sandbox), headers={"documentFormatAs": "text"}).json()
    assert isinstance(text["content"][0]["document"], str)


def test_what_is_submitted_comes_out_as_expense_lines_to_the_cent(people, client):
    lines = [
        entry(1, entry_id="E0001", receipt=True, vendor="Airport Taxi"),
        entry(2, entry_id="E0002", type="Hotel", amount="165.35", amount_spent="2524.30", currency_spent="SEK", billable=True),
        entry(3, entry_id="E0003", personal=True),
        entry(4, entry_id="E0004", project=None),
        entry(5, entry_id="E0005", allocations=[{"project": "A", "percentage": "50"}, {"project": "B", "percentage": "50"}]),
    ]  # fmt: skip
    people.submit_report("R001", ADA, "EUR", lines)
    people.approve_report("R001")
    (record,) = client.changes("expense_document", None).records
    connector = registry.load("concur")
    mapping = load(connector.mappings["expense_document.in.yaml"], connector.verbs)
    taxi, hotel, personal, overhead, split = translate(mapping, read_kept(record.raw))
    assert taxi.external_id == "E0001"
    assert taxi.values["amount"] == Decimal("47.54")
    assert (taxi.values["has_receipt"], taxi.values["billable"], taxi.values["status"]) == (True, False, "approved")
    assert (hotel.values["amount_spent"], hotel.values["currency_spent"]) == (Decimal("2524.30"), "SEK")
    assert hotel.values["billable"] is True
    assert (personal.ignored, overhead.ignored) == ("personal_expenses", "overhead_expenses")
    assert [problem.code for problem in split.problems] == ["split_allocation"]


def test_the_documented_shape_is_read_whole():
    folder = registry.load("concur").folder
    case = (folder / "cases" / "expense_document.json").read_text("utf-8")
    answer = msgspec.json.encode(msgspec.json.decode(case, type=dict[str, msgspec.Raw])["answer"])
    assert len(msgspec.json.decode(answer, type=Queue).content) == 1
    connector = registry.load("concur")
    mapping = load(connector.mappings["expense_document.in.yaml"], connector.verbs)
    (line,) = translate(mapping, read_kept(bytes(msgspec.json.decode(answer, type=Queue).content[0])))
    assert line.problems == ()
    assert line.values["report"] == "D0719B539ED64FE612AB"


@pytest.mark.parametrize("name", sorted(registry.load("concur").mappings))
def test_every_mapping_does_what_its_examples_say(name):
    connector = registry.load("concur")
    assert failures(load(connector.mappings[name], connector.verbs)) == []


def test_many_reports_are_approved_quickly(people, client):
    rows = [
        {"report_id": f"B{n:04}", "employee": ADA, "currency": "EUR", "entries": [entry(i) for i in range(1, 11)]}
        for n in range(300)
    ]
    assert people.bulk(rows) == 300
    for n in range(300):
        people.approve_report(f"B{n:04}")
    assert len(everything(client, acknowledge=True)) == 300


def test_a_restarted_vendor_goes_on_where_it_was(tmp_path: Path):
    with host.running(tmp_path, systems=["concur"]) as sandbox:
        approve(sandbox.simulator("concur"), "R001", "R002")
        client = connect(sandbox)
        client.settle("expense_document", client.changes("expense_document", None).records[:1])
        client.close()
    with host.running(tmp_path, systems=["concur"]) as sandbox:
        client = connect(sandbox)
        assert everything(client, acknowledge=False) == ["R002"]
        client.close()
