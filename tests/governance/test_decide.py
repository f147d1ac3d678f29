"""The owner's newest word is heard, everyone else's is kept as a proposal, in any order of the mail."""

import doctest
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueup.governance import decide as module
from trueup.governance.decide import decide
from trueup.governance.ownership import NOBODY, ROLES, load
from trueup.model.kinds import KINDS

OURS = load(files("trueup.governance").joinpath("ownership.yaml").read_text("utf-8"))
ROLE = st.sampled_from(sorted(ROLES))
VALUE = st.integers(0, 3) | st.none() | st.text(max_size=2)


def fields_of(kind):
    return st.sampled_from(KINDS[kind].field_names())


def statuses(kind):
    return st.sampled_from(sorted(KINDS[kind].lifecycle.statuses))


def always_owned(kind, role):
    """Return the fields a role owns in every status."""
    states = KINDS[kind].lifecycle.statuses
    return [
        name for name in KINDS[kind].model_fields if all(OURS.owner(kind, name, status) == role for status in states)
    ]


def verdicts(outcome):
    return {name: decision.verdict for decision in outcome.decisions for name in decision.fields}


def sentence(outcome, name):
    return next(decision.sentence for decision in outcome.decisions if name in decision.fields)


def read(kind, letters, held=None):
    """Read letters (role, stamp, values) one after another, as the hub does; return what is held at the end."""
    heard: dict[str, str] = {}
    held = None if held is None else dict(held)
    for role, stamp, values in letters:
        outcome = decide(OURS, kind, role, values, held, stamp=stamp, heard=heard.get(role, ""))
        if held is None and not outcome.accepted:
            continue
        held = {**(held or {"status": KINDS[kind].model_fields["status"].default}), **outcome.accepted}
        heard[role] = max(stamp, heard.get(role, ""))
    return held


def test_the_examples_in_the_manual_hold():
    assert doctest.testmod(module).failed == 0


CUSTOMER = {"status": "active", "name": "Acme", "currency": "EUR", "credit_hold": False, "customer_number": None}


def test_the_owner_is_heard():
    outcome = decide(OURS, "customer", "crm", {"name": "Acme AG"}, CUSTOMER)
    assert outcome.accepted == {"name": "Acme AG"}
    assert sentence(outcome, "name") == "crm owns this while active"


def test_what_another_says_is_kept_as_a_proposal():
    outcome = decide(OURS, "customer", "erp", {"name": "ACME", "credit_hold": True}, CUSTOMER)
    assert outcome.accepted == {"credit_hold": True}
    assert verdicts(outcome) == {"name": "propose", "credit_hold": "accept"}
    assert sentence(outcome, "name") == "crm owns customer.name while active"


def test_what_agrees_is_nobodys_business():
    outcome = decide(OURS, "customer", "erp", {"name": "Acme", "currency": "EUR"}, CUSTOMER)
    assert outcome.accepted == {}
    assert verdicts(outcome) == {"name": "agree", "currency": "agree"}


def test_an_older_word_than_the_last_is_late_and_changes_nothing():
    outcome = decide(OURS, "customer", "crm", {"name": "Old", "status": "inactive"}, CUSTOMER, stamp="1", heard="2")
    assert outcome.accepted == {}
    assert verdicts(outcome) == {"name": "late", "status": "late"}
    assert sentence(outcome, "name") == "late: we hold crm's word of 2"


@pytest.mark.parametrize(("stamp", "heard"), [("2", "2"), ("2", ""), ("", "2"), ("", "")])
def test_the_same_word_again_and_words_without_stamp_are_not_late(stamp, heard):
    outcome = decide(OURS, "customer", "crm", {"name": "New"}, CUSTOMER, stamp=stamp, heard=heard)
    assert outcome.accepted == {"name": "New"}


def test_a_value_may_be_taken_away_by_its_owner():
    held = CUSTOMER | {"tax_id": "DE1"}
    assert decide(OURS, "customer", "crm", {"tax_id": None}, held).accepted == {"tax_id": None}


def test_only_who_may_create_creates():
    made = decide(OURS, "customer", "crm", {"name": "Acme", "currency": "EUR"}, None)
    assert made.accepted == {"name": "Acme", "currency": "EUR"}
    assert made.decisions[0].sentence == "crm creates the customer"
    refused = decide(OURS, "customer", "erp", {"name": "Acme"}, None)
    assert refused.accepted == {}
    assert refused.decisions[0].sentence == "only crm may create a customer; erp does not"
    assert verdicts(refused) == {"name": "propose"}


def test_a_won_deal_cannot_be_taken_back_by_the_seller():
    held = {"status": "signed", "value": "100.00", "name": "Deal"}
    outcome = decide(OURS, "contract", "crm", {"status": "draft", "value": "100.00", "name": "Deal 2"}, held)
    assert outcome.accepted == {"name": "Deal 2"}
    assert verdicts(outcome) == {"status": "propose", "value": "agree", "name": "accept"}
    assert sentence(outcome, "status") == "hub owns contract.status while signed"


def test_a_deal_is_won_by_the_one_who_owns_it_until_then():
    outcome = decide(
        OURS, "contract", "crm", {"status": "signed", "value": "5.00"}, {"status": "draft", "value": "4.00"}
    )
    assert outcome.accepted == {"status": "signed", "value": "5.00"}


def test_a_status_that_cannot_follow_is_held_for_a_person():
    outcome = decide(
        OURS, "payment", "erp", {"status": "applied", "amount": "2.00"}, {"status": "reversed", "amount": "1"}
    )
    assert verdicts(outcome) == {"status": "hold", "amount": "accept"}
    assert sentence(outcome, "status") == "a payment cannot go from reversed to applied"
    assert outcome.accepted == {"amount": "2.00"}


MATRIX = "version: 1\nobjects:\n" + "".join(
    f"  {kind}: {{create: [crm], owner: crm{extra}}}\n"
    for kind in KINDS
    for extra in [
        ", fields: {name: {prospect: crm, active: erp, '*': nobody}, status: crm}" if kind == "customer" else ""
    ]
)


@pytest.mark.parametrize(
    ("before", "after", "role", "verdict"),
    [
        ("prospect", "prospect", "crm", "accept"),
        ("prospect", "active", "crm", "propose"),
        ("active", "active", "erp", "accept"),
        ("active", "inactive", "crm", "hold"),
        ("inactive", "inactive", "erp", "hold"),
    ],
)
def test_fields_are_judged_in_the_status_the_record_leaves_the_object_in(before, after, role, verdict):
    outcome = decide(load(MATRIX), "customer", role, {"name": "B", "status": after}, {"status": before, "name": "A"})
    assert verdicts(outcome)["name"] == verdict


@given(st.data())
def test_nobody_but_the_owner_is_ever_applied_and_nothing_said_is_lost(data):
    kind = data.draw(st.sampled_from(sorted(KINDS)))
    role = data.draw(ROLE)
    held = {"status": data.draw(statuses(kind))} | data.draw(st.dictionaries(fields_of(kind), VALUE))
    values = data.draw(st.dictionaries(fields_of(kind), VALUE)) | data.draw(
        st.just({}) | statuses(kind).map(lambda status: {"status": status})
    )
    outcome = decide(OURS, kind, role, values, held)
    after = outcome.accepted.get("status", held["status"])
    for name in outcome.accepted:
        assert OURS.owner(kind, name, held["status"] if name == "status" else after) == role
    assert KINDS[kind].lifecycle.allows(held["status"], after)
    judged = [name for decision in outcome.decisions for name in decision.fields]
    unchanged = {"status"} if values.get("status") == held["status"] else set()
    assert sorted(judged) == sorted(set(values) - unchanged)
    for name, verdict in verdicts(outcome).items():
        assert (verdict == "accept") == (name in outcome.accepted)
        if name != "status":
            assert (verdict == "agree") == (values[name] == held.get(name))
            assert (verdict == "hold") == (verdict != "agree" and OURS.owner(kind, name, after) == NOBODY)
    assert all(decision.sentence for decision in outcome.decisions)


@st.composite
def mail(draw):
    """A kind, the letter that creates it, and letters of everybody who owns something of it in every status.

    Stamps are different for each sender, and an owner of the status walks its lifecycle.
    """
    kind = draw(st.sampled_from(sorted(KINDS)))
    machine = KINDS[kind].lifecycle
    status = draw(statuses(kind))
    creator = draw(st.sampled_from(OURS.objects[kind].create))
    names = KINDS[kind].field_names()
    values = st.fixed_dictionaries(dict.fromkeys(names, VALUE))
    first = (creator, "000", draw(values) | {"status": status})
    letters = []
    for role in sorted(ROLES):
        owned = always_owned(kind, role)
        if not owned:
            continue
        walk = status
        for number in range(draw(st.integers(0, 4))):
            said = draw(values)
            if "status" in owned:
                walk = draw(st.sampled_from([walk, *machine.steps[walk]]))
                said = said | {"status": walk}
            letters.append((role, f"{number + 1:03d}", {name: said[name] for name in owned}))
    return kind, first, letters


@given(mail(), st.randoms(use_true_random=False))
def test_any_order_and_any_repetition_end_in_the_same_place(post, random):
    kind, first, letters = post
    storm = letters * 3
    random.shuffle(storm)
    assert read(kind, [first, *storm]) == read(kind, [first, *letters])


@given(mail(), st.randoms(use_true_random=False))
def test_the_end_is_each_owners_newest_word(post, random):
    kind, first, letters = post
    storm = letters * 2
    random.shuffle(storm)
    end = read(kind, [first, *storm])
    for role in {role for role, _, _ in letters}:
        newest = max((stamp, number) for number, (who, stamp, _) in enumerate(letters) if who == role)
        assert letters[newest[1]][2].items() <= end.items()


@given(mail(), st.data())
def test_what_others_say_makes_no_difference(post, data):
    kind, first, letters = post
    end = read(kind, [first, *letters])
    storm = list(letters)
    for _ in range(data.draw(st.integers(1, 5))):
        role = data.draw(ROLE)
        foreign = [name for name in KINDS[kind].field_names() if role not in owners_of(kind, name)]
        if foreign:
            said = {name: data.draw(VALUE) for name in data.draw(st.lists(st.sampled_from(foreign), unique=True))}
            storm.insert(data.draw(st.integers(0, len(storm))), (role, "", said))
    assert read(kind, [first, *storm]) == end


def owners_of(kind, name):
    return {OURS.owner(kind, name, status) for status in KINDS[kind].lifecycle.statuses}
