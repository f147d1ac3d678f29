"""The vendor's own shapes, from its documents: our client reads them, and our simulator answers with the same."""

import json

import msgspec
import pytest
from salesforce_org import account, deal, line, until_the_second_is_over
from test_salesforce_writes import events, sign_in

from trueup.connectors.salesforce.client import Result
from trueup.connectors.sdk import registry
from trueup.connectors.sdk.wire import Answer, Connection
from trueup.kernel.strict_json import read_kept
from trueup.mapping.file import load
from trueup.mapping.translate import translate

CONNECTOR = registry.load("salesforce")
ERRORS = json.loads((CONNECTOR.folder / "cases" / "errors.json").read_text())["errors"]


def case(name):
    return json.loads((CONNECTOR.folder / "cases" / f"{name}.json").read_text())


def shape(value):
    """What a JSON value is made of, without its values."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return {bool: "flag", str: "text", type(None): "null"}.get(type(value), "number")


def fits(simulated, documented):
    """Compare two shapes; what is null on either side says nothing."""
    if "null" in (simulated, documented):
        return True
    if isinstance(documented, dict):
        return simulated.keys() == documented.keys() and all(
            fits(simulated[key], documented[key]) for key in documented
        )
    if isinstance(documented, list):
        return not documented or not simulated or fits(simulated[0], documented[0])
    return simulated == documented


@pytest.fixture
def client():
    made = CONNECTOR.client(CONNECTOR.manifest, Connection("crm", "https://nordlys.my.salesforce.com"))
    yield made
    made.close()


def test_a_documented_answer_is_read_and_understood(client):
    raw = json.dumps(case("query_answer")["answer"]).encode()
    result = msgspec.json.decode(raw, type=Result)
    [record] = client._records("Opportunity", result)
    assert result.next_records_url.endswith("-2000")
    assert record.stamp == "2026-08-05T14:00:03.000+0000"  # the product's: it is newer than the deal's own
    assert record.raw in raw
    [one] = translate(load(CONNECTOR.mappings["Opportunity.in.yaml"], CONNECTOR.verbs), read_kept(record.raw))
    assert one.problems == ()
    assert one.values["status"] == "signed"


def test_the_simulator_answers_in_the_documented_shape(org):
    buyer = org.do("create", "Account", account())
    org.do("create", "Opportunity", deal(buyer["Id"], OpportunityLineItems=[line(Bill_To__c=buyer["Id"])]))
    until_the_second_is_over()
    client = org.client()
    [record] = client.changes("Opportunity", None).records
    documented = case("query_answer")["answer"]["records"][0]
    assert fits(shape(json.loads(record.raw)), shape(documented))
    assert fits(shape(sign_in(org).json()), shape(case("sign_in")["answer"]))
    refused = sign_in(org, aud="https://example.com").json()
    assert refused == case("sign_in")["refusal"]
    told = json.loads(events(org)[-1].body)
    documented = case("change_event")["body"]
    header, right = told["payload"]["ChangeEventHeader"], documented["payload"]["ChangeEventHeader"]
    assert told.keys() == documented.keys()
    assert fits(shape(header), shape(right))


def test_a_documented_event_names_its_records(client):
    told = case("change_event")
    notices = [[n.object, n.external_id, n.change] for n in client.notices(told["body"])]
    assert notices == told["notices"]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error["code"])
def test_a_documented_error_is_named_by_what_has_to_happen_next(client, error):
    body = error["body"] if isinstance(error["body"], str) else json.dumps(error["body"])
    answer = Answer(error["status"], {}, body.encode())
    trouble = client.trouble("PATCH", answer)
    assert type(trouble).__name__ == error["kind"]
    code, _, path = client.refusal(answer)
    assert (code, path) == (error["code"], error.get("path", ""))
