"""Writing to Salesforce over real HTTP: once, only our fields, and every no by its name."""

import json
import time

import httpx2
import pytest
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey
from salesforce_org import account, deal, until_the_second_is_over

from trueup.connectors.sdk import registry
from trueup.connectors.sdk.webhook import refuse
from trueup.kernel.errors import Broken, Busy, Refused, Unsettled

KEY = "con_00000000000000000000000007"
BODY = {"Trueup_Status__c": "In delivery", "Trueup_Billed__c": 18250.4, "Trueup_Message__c": ""}


@pytest.fixture
def opportunity(org):
    buyer = org.do("create", "Account", account())
    return org.do("create", "Opportunity", deal(buyer["Id"], StageName="Closed Won"))["Id"]


def test_a_write_sets_our_fields_and_leaves_our_key(org, opportunity):
    client = org.client()
    assert client.find("Opportunity", KEY) is None
    receipt = client.send("Opportunity", KEY, BODY, opportunity)
    assert receipt.external_id == opportunity
    row = org.row("Opportunity", opportunity)
    assert (row["Trueup_Status__c"], row["Trueup_Billed__c"], row["Trueup_Message__c"]) == (
        "In delivery",
        "18250.40",
        None,
    )
    found = client.find("Opportunity", KEY)
    assert (found.external_id, found.stamp) == (opportunity, row["SystemModstamp"])
    assert client.send("Opportunity", KEY, BODY | {"Trueup_Status__c": "Closed"}, None).external_id == opportunity


def test_the_same_write_five_times_is_one_record_and_the_same_values(org, opportunity):
    client = org.client()
    for _ in range(5):
        client.send("Opportunity", KEY, BODY, opportunity)
    assert len(org.simulator.store.table("Opportunity")) == 1
    assert org.row("Opportunity", opportunity)["Trueup_Billed__c"] == "18250.40"


def test_a_write_whose_answer_was_lost_is_repeated_without_harm(org, opportunity):
    org.sandbox.host.chaos.use(["unk"])
    client = org.client()
    outcomes = []
    for _ in range(60):
        try:
            client.send("Opportunity", KEY, BODY, opportunity)
            outcomes.append("confirmed")
        except Unsettled:
            outcomes.append("unsettled")
            assert client.find("Opportunity", KEY).external_id == opportunity
    assert set(outcomes) == {"confirmed", "unsettled"}
    assert len(org.simulator.store.table("Opportunity")) == 1


def test_a_deal_we_do_not_find_is_refused_and_none_is_made(org):
    with pytest.raises(Refused) as no:
        org.client().send("Opportunity", KEY, BODY, None)
    assert no.value.code == "NOT_FOUND"
    assert org.simulator.store.table("Opportunity") == {}
    with pytest.raises(Broken):
        org.client().send("Account", KEY, {}, None)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"Trueup_Statuss__c": "x"}, "INVALID_FIELD"),
        ({"IsWon": True}, "INVALID_FIELD_FOR_INSERT_UPDATE"),
        ({"Trueup_Status__c": "x" * 41}, "STRING_TOO_LONG"),
        ({"StageName": "Verbally Agreed"}, "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST"),
        ({"Name": None}, "REQUIRED_FIELD_MISSING"),
        ({"Trueup_Billed__c": "a lot"}, "JSON_PARSER_ERROR"),
        ({"Trueup_Billed__c": 10**17}, "NUMBER_OUTSIDE_VALID_RANGE"),
        ({"AccountId": "001Ny0000099999IAA"}, "INVALID_CROSS_REFERENCE_KEY"),
        ({"AccountId": "006Ny0000000001IAA"}, "MALFORMED_ID"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_and_its_code_is_explained(org, opportunity, body, code):
    client = org.client()
    before = org.row("Opportunity", opportunity)
    with pytest.raises(Refused) as no:
        client.send("Opportunity", KEY, body, opportunity)
    assert no.value.code == code
    assert code in client.manifest.refusals
    assert org.row("Opportunity", opportunity) == before


def test_a_cloned_deal_cannot_carry_our_key_twice(org, opportunity):
    client = org.client()
    client.send("Opportunity", KEY, BODY, opportunity)
    copy = org.do("create", "Opportunity", deal(org.row("Opportunity", opportunity)["AccountId"], "D08"))
    with pytest.raises(Refused) as no:
        client.send("Opportunity", KEY, BODY, copy["Id"])
    assert no.value.code == "DUPLICATE_VALUE"


def test_a_locked_row_and_a_used_up_day_mean_later(org, opportunity):
    client = org.client()
    org.do("hold_lock", opportunity)
    with pytest.raises(Busy):
        client.send("Opportunity", KEY, BODY, opportunity)
    client.send("Opportunity", KEY, BODY, opportunity)
    org.simulator.calls_allowed = org.simulator.calls_used
    with pytest.raises(Busy):
        client.send("Opportunity", KEY, BODY, opportunity)


def test_a_deleted_deal_is_refused(org, opportunity):
    org.do("remove", "Opportunity", opportunity)
    with pytest.raises(Refused) as no:
        org.client().send("Opportunity", KEY, BODY, opportunity)
    assert (no.value.code, no.value.status) == ("ENTITY_IS_DELETED", 404)


def test_every_code_of_the_simulator_is_in_the_table_of_refusals(org):
    connector = registry.load("salesforce")
    text = "".join((connector.folder / name).read_text() for name in ("sandbox.py", "org.py", "schema.py", "soql.py"))
    import re

    codes = set(re.findall(r'Invalid\(\s*"([A-Z_]+)"', text)) | {"JSON_PARSER_ERROR"}
    ours_never = {  # answers to calls the client does not make, or which are no refusals
        "SERVER_UNAVAILABLE",
        "MISSING_ARGUMENT",
        "ALL_OR_NONE_OPERATION_ROLLED_BACK",
        "UNSUPPORTED_MEDIA_TYPE",
        "INVALID_QUERY_FILTER_OPERATOR",
        "INVALID_EMAIL_ADDRESS",
    }
    assert codes - ours_never <= set(connector.manifest.refusals)


# --- signing in ----------------------------------------------------------------------------------------------------


def sign_in(org, *, algorithm="RS256", key=None, form=None, **claims):
    made = org.connection.credentials
    now = int(time.time())
    whole = {
        "iss": made["client_id"],
        "sub": made["username"],
        "aud": "https://login.salesforce.com",
        "iat": now,
        "exp": now + 180,
    } | claims
    signed = jwt.encode(
        {"alg": algorithm}, whole, key or RSAKey.import_key(made["private_key"]), algorithms=[algorithm]
    )
    grant = "urn:ietf:params:oauth:grant-type:jwt-bearer"
    return httpx2.post(org.connection.token_url, data={"grant_type": grant, "assertion": signed} | (form or {}))


def test_a_right_assertion_is_answered_with_a_session_and_an_address(org):
    answer = sign_in(org)
    assert answer.status_code == 200
    assert answer.json()["instance_url"] == org.connection.base_url
    assert "expires_in" not in answer.json()


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"aud": "https://firm.my.salesforce.com"}, "invalid_grant"),
        ({"exp": int(time.time()) - 5}, "invalid_grant"),
        ({"exp": int(time.time()) + 86400}, "invalid_grant"),
        ({"sub": "somebody@else.example"}, "invalid_grant"),
        ({"iss": "another app"}, "invalid_client_id"),
        ({"key": RSAKey.generate_key(2048)}, "invalid_grant"),
        ({"algorithm": "HS256", "key": OctKey.generate_key(256)}, "invalid_grant"),
        ({"algorithm": "RS512"}, "invalid_grant"),
        ({"form": {"grant_type": "password"}}, "unsupported_grant_type"),
        ({"form": {"assertion": "eyJhbGciOiJub25lIn0.eyJpc3MiOiJ4In0."}}, "invalid_grant"),
        ({"form": {"assertion": "no token"}}, "invalid_grant"),
    ],
)
def test_a_wrong_assertion_gets_no_session(org, wrong, error):
    answer = sign_in(org, **wrong)
    assert (answer.status_code, answer.json()["error"]) == (400, error)


def test_a_client_with_the_wrong_audience_is_told_so(org):
    with pytest.raises(Refused) as no:
        org.client(options={"audience": "https://example.com"}).changes("Account", None)
    assert no.value.code == "sign_in"


def test_no_secret_is_in_what_a_connection_shows(org):
    shown = repr(org.client().connection)
    assert not any(secret in shown for secret in org.connection.credentials.values())


# --- change events ---------------------------------------------------------------------------------------------------


def events(org):
    with org.simulator.lock:
        return [out for _, out in org.simulator.outgoing()]


def test_a_change_is_announced_signed_and_leads_to_the_record(org, opportunity):
    client = org.client()
    before = len(events(org))
    org.do("edit", "Opportunity", opportunity, {"StageName": "Negotiation"})
    [event] = events(org)[before:]
    scheme, secret = client.manifest.webhook, org.connection.webhook_secret
    headers = {name.lower(): value for name, value in event.headers.items()}
    assert refuse(scheme, secret, headers, event.body, time.time()) is None
    assert refuse(scheme, "another secret", headers, event.body, time.time())
    assert refuse(scheme, secret, headers, event.body + b" ", time.time())
    assert refuse(scheme, secret, headers, event.body, time.time() + 301)
    [notice] = client.notices(json.loads(event.body))
    assert (notice.object, notice.external_id, notice.change) == ("Opportunity", opportunity, "update")
    [record] = client.fetch(notice.object, [notice.external_id])
    assert json.loads(record.raw)["StageName"] == "Negotiation"


def test_products_are_told_by_their_deal_and_deletes_as_deletes(org, opportunity):
    client = org.client()
    before = len(events(org))
    org.do("create", "OpportunityLineItem", {"OpportunityId": opportunity, "Line_Key__c": "D07-L9"})
    org.do("remove", "Opportunity", opportunity)
    told = [client.notices(json.loads(event.body))[0] for event in events(org)[before:]]
    assert [(n.object, n.external_id, n.change) for n in told] == [
        ("Opportunity", opportunity, "update"),
        ("Opportunity", opportunity, "delete"),
    ]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ({"entityName": "Account", "recordIds": ["001A", "001B"], "changeType": "GAP_CREATE"}, ["create", "create"]),
        ({"entityName": "Account", "recordIds": ["001A"], "changeType": "UNDELETE"}, ["update"]),
        ({"entityName": "Account", "recordIds": ["000000000000000AAA"], "changeType": "GAP_OVERFLOW"}, ["gap"]),
        ({"entityName": "Account", "recordIds": ["001*"], "changeType": "UPDATE"}, ["gap"]),
        ({"entityName": "Contact", "recordIds": ["003A"], "changeType": "UPDATE"}, []),
        ({"entityName": ["Account"], "recordIds": 5}, []),
        ("nothing", []),
    ],
)
def test_events_are_read_whatever_they_are(header, expected):
    client = registry.load("salesforce").client
    assert [n.change for n in client.notices({"payload": {"ChangeEventHeader": header}})] == expected
    assert client.notices({}) == []


def test_the_story_can_save_a_record_again_without_a_trace(org):
    buyer = org.do("create", "Account", account())
    until = len(events(org))
    until_the_second_is_over()
    assert org.do("create", "Account", account() | {"Id": buyer["Id"]}) == buyer
    assert org.do("edit", "Account", buyer["Id"], {"Name": buyer["Name"]}) == buyer
    assert len(events(org)) == until
    with pytest.raises(ValueError, match="other values"):
        org.do("create", "Account", account("Somebody else") | {"Id": buyer["Id"]})
