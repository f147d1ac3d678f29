"""The vendor's own shapes, from its documents: our client reads them, and our simulator answers with the same."""

import json

import httpx2
import pytest
from bamboo_account import read_all, until_the_second_is_over

from trueup.connectors.sdk import registry
from trueup.kernel.strict_json import read_kept
from trueup.mapping.file import load
from trueup.mapping.translate import translate

CONNECTOR = registry.load("bamboohr")


def case(name):
    return json.loads((CONNECTOR.folder / "cases" / f"{name}.json").read_text())


def shape(value):
    """What a JSON value is made of, without its values; maps by id show one entry."""
    if isinstance(value, dict):
        if value and all(key.isdigit() for key in value):
            return {"id": shape(next(iter(value.values())))}
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


@pytest.mark.parametrize("object", ["employee", "compensation"])
def test_a_documented_record_is_understood(object):
    mapping = load(CONNECTOR.mappings[f"{object}.in.yaml"], CONNECTOR.verbs)
    [one] = translate(mapping, read_kept(json.dumps(case(object)["record"]).encode()))
    assert one.problems == ()
    assert one.ignored is None


def test_the_simulator_answers_in_the_documented_shape(account):
    id = account.hire(1)
    account.pay(id)
    until_the_second_is_over()
    client = account.client()
    for object in ("employee", "compensation"):
        [record] = read_all(client, object)[0]
        assert fits(shape(json.loads(record.raw)), shape(case(object)["record"]))
    for path, name in (("changed", "changed"), ("changed/tables/compensation", "changed_compensation")):
        answer = httpx2.get(
            f"{account.connection.base_url}/api/v1/employees/{path}",
            params={"since": "2020-01-01T00:00:00Z"},
            auth=(account.connection.credentials["api_key"], "x"),
            headers={"Accept": "application/json"},
        )
        assert fits(shape(answer.json()), shape(case(name)["answer"]))
    with account.simulator.lock:
        told = [json.loads(out.body) for _, out in account.simulator.outgoing()]
    assert fits(shape(told[-1]), shape(case("events")["events"][0]["body"]))


@pytest.mark.parametrize("event", case("events")["events"], ids=lambda event: str(event["notices"][0]))
def test_a_documented_event_names_its_person(event):
    notices = [[n.object, n.external_id, n.change] for n in CONNECTOR.client.notices(event["body"])]
    assert notices == event["notices"]
