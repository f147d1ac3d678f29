"""The vendor's refusals, caused for real: the desk names each with its ways out, and going them ends it."""

import pytest
from netsuite_bodies import connect, job

from remedy_steps import ask, goes_out, house_of, the_issue
from trueup.connectors.sdk import registry
from trueup.kernel.ids import derive
from trueup.mapping.file import load
from trueup.store.deliveries import Command

CONNECTOR = registry.load("netsuite")
NEW = derive("customer", "remedies", "new")
BUYER = derive("customer", "remedies", "buyer")
PROJECT = derive("project", "remedies", "project")
CUSTOMER = {
    "gid": NEW, "status": "active", "name": "Alder Works", "country": "DE", "currency": "EUR", "payment_terms_days": 30,
}  # fmt: skip
WRONG_LINES = {"INVALID_CONTENT": "shoeSize: {const: 1}", "INVALID_KEY_OR_REF": 'subsidiary.id: {const: "9"}'}


@pytest.fixture
def house(empty, sandbox, buyer):
    client = connect(sandbox)
    yield house_of(empty, CONNECTOR, client, ("customer", buyer, BUYER))
    client.close()


def mapped(house, kind, file, line=""):
    """Write a kind with a shipped mapping, or with one line of it replaced or added."""
    name = line.partition(":")[0]
    text = CONNECTOR.mappings[file].partition("examples:")[0]
    fields, tables, after = text.partition("tables:")
    kept = [one for one in fields.rstrip().splitlines() if not name or not one.startswith(f"  {name}:")]
    lines = [*kept, *([f"  {line}"] if line else []), tables + after.rstrip()]
    mapping = load("\n".join([*lines, "examples: [{is: none, in: {}, problems: [any missing]}]"]), CONNECTOR.verbs)
    house.outward[kind, "netsuite", mapping.object] = mapping


@pytest.mark.parametrize("code", WRONG_LINES)
def test_a_write_that_the_mapping_makes_wrong_goes_out_once_the_mapping_is_mended(house, code):
    mapped(house, "customer", "customer.out.yaml", WRONG_LINES[code])
    ask(house, Command("customer/1", "netsuite", "customer", NEW, "customer", "create", "A", source=CUSTOMER))
    issue = the_issue(house)
    assert (issue["code"], issue["remedy"]["id"]) == (code, f"netsuite/{code}")
    mapped(house, "customer", "customer.out.yaml")
    goes_out(house, issue)


def test_a_name_that_is_taken_is_free_once_the_other_record_is_renamed(house, account, buyer, web):
    taken = web.put("job", "somebody_elses", job(buyer))
    mapped(house, "project", "job.out.yaml")
    source = {
        "gid": PROJECT, "status": "active", "code": "D14-DE01", "name": "Plant", "customer": BUYER, "legal_entity": "DE01",
        "currency": "EUR", "contract": "con_1",
    }  # fmt: skip
    ask(house, Command("project/1", "netsuite", "job", PROJECT, "project", "create", "A", source=source))
    issue = the_issue(house)
    assert issue["remedy"]["id"] == "netsuite/ALREADY_EXISTS"
    account.edit("job", taken, {"entityId": "OLD-14"})
    goes_out(house, issue)
