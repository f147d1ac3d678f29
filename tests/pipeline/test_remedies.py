"""Every entry of the catalogue: the failure is caused, the catalogue names the entry, each of its ways out ends it."""

import json
from dataclasses import replace

import acme_house
import pytest
from acme_house import ACCOUNT, DEAL, GOAL, arrival, keep, message, work

from remedy_steps import open_issues
from trueup.connectors.sdk import registry, remedies
from trueup.governance import ownership
from trueup.kernel.errors import Broken
from trueup.kernel.ids import derive
from trueup.mapping.file import load
from trueup.processes import plans
from trueup.reporting import issues as desk
from trueup.store.inbox import Arrival
from trueup.store.plans import Choice, change

MESSAGES = [one for one in remedies.general() if one.source == "message"]
LATER = "2026-09-09T09:00:00Z"
WIDE = """
mapping: sales.Deal -> contract
key: id
stamp: at
fields:
  code: {text: code, max: 20}
  name: {text: name}
  customer: {ref: account, object: Account}
  value: {money: value, currency: currency}
  currency: {upper: currency}
  starts_on: {day: from, optional: true}
  status: {one_of: stage, table: stages}
tables: {stages: {open: draft, won: signed}}
"""
LISTED = """
  lines:
    each: lines
    fields:
      key: {text: key}
tables:"""


@pytest.fixture(scope="module")
def plain(database):
    built = acme_house.build(database)
    yield built
    for system in built.systems.values():
        system.client.close()


@pytest.fixture
def house(plain, empty):
    """A house that knows one account and one deal."""
    made = replace(plain, inward=dict(plain.inward), reactions=[], ownership=plain.ownership)
    read_by(made, WIDE)
    keep(made, arrival("Account", ACCOUNT), arrival("Deal", {**DEAL, "id": "D0", "code": "D00"}))
    work(made)
    return made


def read_by(house, text, version=1):
    mapping = load(f"{text.strip()}\nversion: {version}\nwhy: a test's own words\nexamples: [{{is: none, in: {{}}}}]\n")
    house.inward[mapping.system, mapping.object] = mapping


def with_line(text, line, another):
    assert line in text
    return text.replace(line, another)


class Case:
    """How one failure comes about, and how each way out goes.

    bad     the record as it fails, or its bytes
    good    what its source says later
    set     fields a person corrects in the copy
    before  what is wrong on our side; after: how it is mended
    """

    def __init__(self, bad, good=None, *, object="Deal", set=None, before=None, after=None, first=None):
        self.object, self.bad, self.good, self.set = object, bad, good, set
        self.before, self.after, self.first = before, after, first


def deal(**more):
    return {**DEAL, **more}


def mapped(text):
    return lambda house: read_by(house, text, 2)


def nobody_reads(house):
    del house.inward["sales", "Deal"]


def erp_may_create(house):
    rules = acme_house.default_ownership()
    house.ownership = ownership.load(
        with_line(rules, "  customer:\n    create: [crm]", "  customer:\n    create: [crm, erp]")
    )


def breaks(house, monkeypatch):
    from trueup.pipeline import ingest

    real = ingest.translate

    def broken(mapping, record):
        if record.get("id") == "D1":
            raise RuntimeError("a fault of ours")
        return real(mapping, record)

    monkeypatch.setattr(ingest, "translate", broken)


BUYER = derive("customer", "sales", "Account", "A1")
CLIENT = """
mapping: books.Client -> customer
key: id
own: external
stamp: at
fields:
  name: {text: name}
  country: {upper: country}
  currency: {upper: currency}
"""
CASES = {
    "not_in_table": Case(
        deal(stage="agreed"), deal(at=LATER), set={"stage": "won"},
        after=mapped(with_line(WIDE, "won: signed", "won: signed, agreed: signed")),
    ),
    "missing": Case(
        deal(), deal(at=LATER, **{"from": "2026-09-01"}), set={"from": "2026-09-01"},
        before=lambda house: read_by(house, with_line(WIDE, "{day: from, optional: true}", "{day: from}")),
        after=mapped(WIDE),
    ),
    "not_a_number": Case(deal(value="much"), deal(at=LATER), set={"value": "12.50"}),
    "out_of_range": Case(deal(value="1" * 20), deal(at=LATER), set={"value": "12.50"}),
    "not_text": Case(
        deal(name={"en": "Advice"}), deal(at=LATER), set={"name": '"Advice"'},
        after=mapped(with_line(WIDE, "{text: name}", "{text: name.en}")),
    ),
    "too_long": Case(deal(code="D" * 21), deal(at=LATER), set={"code": "D7"}),
    "not_whole": Case({**GOAL, "deal": "D0", "sequence": "1.5"}, {**GOAL, "deal": "D0", "at": LATER}, object="Goal", set={"sequence": "1"}),
    "unknown_currency": Case(deal(currency="XXQ"), deal(at=LATER), set={"currency": "EUR"}),
    "not_exact": Case(deal(value="10.005"), deal(at=LATER), set={"value": "10.01"}),
    "not_a_day": Case(deal(**{"from": "31.08.2026"}), deal(at=LATER), set={"from": "2026-08-31"}),
    "not_a_flag": Case(
        {"id": "A1", "at": "2026-08-02T10:00:00Z", "name": "Acme", "country": "de", "currency": "EUR", "active": "perhaps"},
        {**ACCOUNT, "at": LATER, "active": True}, object="Account", set={"active": "true"},
        before=lambda house: read_by(
            house,
            "mapping: sales.Account -> customer\nkey: id\nstamp: at\nfields:\n  name: {text: name}\n  country: {upper: country}\n"
            "  currency: {upper: currency}\n  credit_hold: {flag: active}\n",
        ),
    ),
    "not_a_reference": Case(deal(account={"id": "A1"}), deal(at=LATER), set={"account": "A1"}),
    "not_a_list": Case(
        deal(lines="two"), deal(at=LATER, lines=[]), set={"lines": "[]"},
        before=lambda house: read_by(house, with_line(WIDE, "\ntables:", LISTED)),
    ),
    "invalid": Case(
        {**ACCOUNT, "id": "A2", "country": "Germany"}, {**ACCOUNT, "id": "A2", "at": LATER}, object="Account",
        set={"country": "DE"},
        after=mapped(
            "mapping: sales.Account -> customer\nkey: id\nstamp: at\nfields:\n  name: {text: name}\n"
            "  country: {one_of: country, table: countries}\n  currency: {upper: currency}\n"
            "tables: {countries: {Germany: DE}}\n"
        ),
    ),
    "unknown_status": Case(
        deal(), before=lambda house: read_by(house, with_line(WIDE, "won: signed", "won: triumphant")), after=mapped(WIDE)
    ),
    "unknown_field": Case(
        deal(), before=lambda house: read_by(house, with_line(WIDE, "  name: {text: name}", "  nmae: {text: name}")),
        after=mapped(WIDE),
    ),
    "no_mapping": Case(deal(), before=nobody_reads, after=mapped(WIDE)),
    "may_not_create": Case(
        {**ACCOUNT, "id": "C9"}, {**ACCOUNT, "id": "C9", "external": BUYER, "at": LATER}, object="Client",
        before=lambda house: read_by(house, CLIENT), after=erp_may_create,
    ),
    "not_json": Case(b"{'id': 'D1'}", deal(at=LATER)),
    "waits": Case(deal(account="A7"), first=lambda house: keep(house, arrival("Account", {**ACCOUNT, "id": "A7"})), set={"account": "A1"}),
}  # fmt: skip


def fail(house, case):
    """Let the record come in; give its message's number and the one open issue."""
    if case.before:
        case.before(house)
    said = (
        Arrival("Deal", "D1", "2026-08-01", case.bad) if isinstance(case.bad, bytes) else arrival(case.object, case.bad)
    )
    (number,) = keep(house, said)
    work(house)
    (issue,) = open_issues(house)
    return number, issue["issue"]


def shown(house, issue):
    with house.database.transaction() as tx:
        return desk.cause(tx, issue, house.remedies())["remedy"]


def apply(house, verb, **choice):
    plan = plans.propose(house, verb, Choice(**choice), by="Li", reason="as the way out says")
    assert plan["acts_on"], plan["items"]
    plans.start(house, plan["number"], by="Ana")
    while plans.next_batch(house, str(plan["number"])):
        pass
    work(house)


def ways_of_messages():
    return [(one, way.then) for one in MESSAGES for way in one.ways]


@pytest.mark.parametrize(("entry", "then"), ways_of_messages(), ids=lambda one: getattr(one, "id", one))
def test_each_way_out_of_a_message_s_failure_ends_it(house, entry, then, monkeypatch):
    if entry.id == "fault":
        with monkeypatch.context() as patch:
            breaks(house, patch)
            number, issue = fail(house, Case(deal()))
    else:
        number, issue = fail(house, CASES[entry.id])
    assert (shown(house, issue)["id"], shown(house, issue)["cause"]) == (entry.id, entry.cause)
    case = CASES.get(entry.id)
    if then == "edit":
        apply(house, "edit", records=(str(number),), changes=tuple(change(*one) for one in case.set.items()))
    elif then == "replay":
        if case and case.after:
            case.after(house)
        apply(house, "replay", issue=issue)
    elif case.first:
        case.first(house)
        work(house)
    else:
        keep(house, arrival(case.object, case.good))
        work(house)
    assert open_issues(house) == [], "it is gone from the desk"
    assert message(house, number)["state"] in ("applied", "superseded")


def test_every_entry_of_the_catalogue_has_a_case():
    assert {one.id for one in MESSAGES} - {"fault"} == set(CASES)


# --- the catalogue itself ------------------------------------------------------------------------------------------------


def entry(**more):
    return {"id": "own", "source": "message", "code": "not_in_table", "cause": "a cause of our own",
            "ways": [{"do": "Ask Bea", "then": "replay"}]} | more  # fmt: skip


def text(*entries):
    return json.dumps(list(entries))


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ([entry(cuase="x")], "cuase"),
        ([entry(ways=[])], "at least 1"),
        ([entry(ways=[{"do": "Ask Bea", "then": "shout"}])], "shout|replay"),
        ([entry(ways=[{"do": "Ask Bea", "then": "retry"}])], "nobody can retry a message"),
        ([entry(state="parked")], "a message is never parked"),
        ([entry(code=None)], "name a state or a code"),
        ([entry(), entry()], "stands twice"),
    ],
)
def test_an_entry_that_is_wrong_is_refused_by_name(entries, sentence):
    with pytest.raises(Broken, match=sentence):
        remedies.read(text(*entries), "remedies.yaml")


def test_two_entries_about_the_same_failures_are_refused():
    with pytest.raises(Broken, match="not_in_table and own are about the same"):
        remedies.catalogue({}, remedies.read(text(entry()), "remedies.yaml"))
    with pytest.raises(Broken, match="no system elsewhere is connected"):
        remedies.catalogue({}, remedies.read(text(entry(system="elsewhere")), "remedies.yaml"))


def test_a_workspace_says_more_than_the_hub_and_replaces_by_id(house):
    _, issue = fail(house, CASES["not_in_table"])
    house.own_remedies = remedies.read(text(entry(system="sales", field="status")), "remedies.yaml")
    assert shown(house, issue)["id"] == "own"
    house.own_remedies = remedies.read(text(entry(id="not_in_table")), "remedies.yaml")
    found = shown(house, issue)
    assert (found["id"], found["cause"]) == ("not_in_table", "a cause of our own")
    assert [(way["number"], way["label"], way["then"]) for way in found["ways"]] == [(1, "Ask Bea", "replay")]
    assert found["ways"][0]["body"] == {"verb": "replay", "issue": issue}
    house.own_remedies = ()


def test_a_failure_nobody_has_written_down_says_so_and_has_the_ways_that_are_always_there(house):
    failure = {
        "source": "delivery",
        "class": "rejected",
        "system": "books",
        "object": "x",
        "code": "E77",
        "field": "",
        "issue": "0" * 12,
    }
    found = desk.remedy(failure, house.remedies())
    assert (found["id"], [way["then"] for way in found["ways"]]) == (None, ["retry"])
    assert "nobody has written down" in found["cause"]


def test_every_code_of_every_connector_has_an_entry():
    manifests = {name: registry.load(name).manifest for name in registry.folders()}
    known = remedies.catalogue(manifests)
    for name, manifest in manifests.items():
        for code in manifest.refusals:
            failure = {
                "source": "delivery",
                "class": "rejected",
                "system": name,
                "object": "any",
                "code": code,
                "field": "",
            }
            assert known.of(failure).id == f"{name}/{code}"
