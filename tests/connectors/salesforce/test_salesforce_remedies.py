"""The vendor's refusals, caused for real: the desk names each with its ways out, and going them ends it."""

import pytest
from salesforce_org import account, deal

from remedy_steps import ask, goes_out, house_of, the_issue
from trueup.connectors.sdk import registry
from trueup.mapping.file import load
from trueup.store.deliveries import Command

CONNECTOR = registry.load("salesforce")
GID = "con_00000000000000000000000007"
SHIPPED = CONNECTOR.mappings["contract.out.yaml"]
WRONG_LINES = {
    "INVALID_FIELD": "Trueup_Statuss__c: {const: x}",
    "INVALID_FIELD_FOR_INSERT_UPDATE": "IsWon: {const: true}",
    "STRING_TOO_LONG": "Trueup_Project_Codes__c: {const: " + "x" * 256 + "}",
    "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST": "StageName: {const: Verbally Agreed}",
    "REQUIRED_FIELD_MISSING": "Name: {const: ''}",
    "JSON_PARSER_ERROR": "Trueup_Billed__c: {const: a lot}",
    "NUMBER_OUTSIDE_VALID_RANGE": "Trueup_Billed__c: {const: 100000000000000000}",
    "INVALID_CROSS_REFERENCE_KEY": "AccountId: {const: 001Ny0000099999IAA}",
    "MALFORMED_ID": "AccountId: {const: 006Ny0000000001IAA}",
}


@pytest.fixture
def opportunity(org):
    buyer = org.do("create", "Account", account())
    return org.do("create", "Opportunity", deal(buyer["Id"], StageName="Closed Won"))["Id"]


@pytest.fixture
def house(empty, org, opportunity):
    made = house_of(empty, CONNECTOR, org.client(), ("Opportunity", opportunity, GID))
    mapped(made)
    return made


def mapped(house, line=""):
    """Write deals with the shipped mapping, or with one line of it replaced or added."""
    name = line.partition(":")[0]
    lines = [
        one for one in SHIPPED.partition("examples:")[0].splitlines() if not name or not one.startswith(f"  {name}:")
    ]
    text = "\n".join(
        [*lines, *([f"  {line}"] if line else []), "examples: [{is: none, in: {}, problems: [any missing]}]"]
    )
    house.outward["contract", "salesforce", "Opportunity"] = load(text, CONNECTOR.verbs)


def write(house):
    """Ask for the write that tells a seller how a deal stands, and carry it out."""
    source = {"gid": GID, "status_text": "In delivery", "message": ""}
    ask(house, Command("contract/1", "salesforce", "Opportunity", GID, "contract", "tell", "A", source=source))


@pytest.mark.parametrize("code", WRONG_LINES)
def test_a_write_that_the_mapping_makes_wrong_goes_out_once_the_mapping_is_mended(house, code):
    mapped(house, WRONG_LINES[code])
    write(house)
    issue = the_issue(house)
    assert (issue["code"], issue["remedy"]["id"]) == (code, f"salesforce/{code}")
    mapped(house)
    goes_out(house, issue)


def test_a_cloned_deal_gives_our_key_up_and_the_original_takes_it(org, house, opportunity):
    copy = org.do(
        "create", "Opportunity", deal(org.row("Opportunity", opportunity)["AccountId"], "D08", Trueup_Key__c=GID)
    )
    write(house)
    issue = the_issue(house)
    assert issue["remedy"]["id"] == "salesforce/DUPLICATE_VALUE"
    with org.simulator.lock:
        org.simulator.store.table("Opportunity")[copy["Id"]]["Trueup_Key__c"] = None
        org.simulator.store.flush()
    goes_out(house, issue)


def test_a_deal_in_the_recycle_bin_is_restored(org, house, opportunity):
    org.do("remove", "Opportunity", opportunity)
    write(house)
    issue = the_issue(house)
    assert issue["remedy"]["id"] == "salesforce/ENTITY_IS_DELETED"
    org.do("restore", "Opportunity", opportunity)
    goes_out(house, issue)
    assert org.row("Opportunity", opportunity)["Trueup_Status__c"] == "In delivery"
