"""The ownership file: total, without mistakes, without circles."""

from importlib.resources import files

import pytest

from trueup.governance.ownership import NOBODY, ROLES, check_flows, load
from trueup.kernel.errors import Broken
from trueup.model.kinds import KINDS

TEXT = files("trueup.governance").joinpath("ownership.yaml").read_text("utf-8")


def matrix(**kinds):
    """Return a file in which the CRM owns everything but what is given."""
    lines = ["version: 1", "objects:"]
    for kind in {**dict.fromkeys(KINDS), **kinds}:
        lines.append(f"  {kind}: {kinds.get(kind) or '{create: [crm], owner: crm}'}")
    return "\n".join(lines)


def test_our_own_file_is_right_and_answers_for_every_field_in_every_status():
    ours = load(TEXT)
    for kind, cls in KINDS.items():
        for name in cls.model_fields:
            for status in cls.lifecycle.statuses:
                assert ours.owner(kind, name, status) in ROLES | {NOBODY}


def test_every_field_of_every_kind_has_somebody_who_may_set_it_in_some_status():
    ours = load(TEXT)
    for kind, cls in KINDS.items():
        for name in cls.model_fields:
            assert {ours.owner(kind, name, status) for status in cls.lifecycle.statuses} != {NOBODY}


def test_a_field_may_have_an_owner_per_status():
    ours = load(matrix(contract="{create: [crm], owner: crm, fields: {status: {draft: crm, lost: psa, '*': hub}}}"))
    assert [ours.owner("contract", "status", status) for status in ("draft", "lost", "signed", None)] == [
        "crm",
        "psa",
        "hub",
        "hub",
    ]
    assert ours.owner("contract", "value", "signed") == "crm"


def test_a_status_that_is_not_named_belongs_to_nobody():
    ours = load(matrix(contract="{create: [crm], owner: crm, fields: {value: {draft: crm}}}"))
    assert ours.owner("contract", "value", "draft") == "crm"
    assert ours.owner("contract", "value", "signed") == NOBODY


def test_who_may_create():
    ours = load(TEXT)
    assert ours.may_create("task", "psa")
    assert ours.may_create("task", "hub")
    assert not ours.may_create("customer", "erp")


def test_the_matrix_can_be_shown_flat():
    rows = load(TEXT).rows()
    assert {"kind": "customer", "field": "*", "status": "*", "owner": "crm"} in rows
    assert {"kind": "contract", "field": "status", "status": "draft", "owner": "crm"} in rows
    assert {row["kind"] for row in rows} == set(KINDS)


@pytest.mark.parametrize(
    ("kinds", "sentence"),
    [
        ({"customer": "{create: [crm], owner: sales}"}, "customer: sales is no role"),
        ({"customer": "{create: [boss], owner: crm}"}, "customer: boss is no role"),
        ({"customer": "{create: [crm], owner: nobody}"}, "customer: nobody is no role"),
        ({"customer": "{create: [crm], owner: crm, fields: {nam: crm}}"}, "customer has no field nam"),
        ({"customer": "{create: [crm], owner: crm, fields: {name: sales}}"}, "customer.name: sales is no role"),
        (
            {"customer": "{create: [crm], owner: crm, fields: {name: {open: crm}}}"},
            "customer.name: open is no status of customer",
        ),
        ({"martian": "{create: [crm], owner: crm}"}, "martian is no kind of object"),
        ({"customer": "{create: [crm]}"}, "owner"),
        ({"customer": "{create: [crm], owner: crm, writes: erp}"}, "writes"),
        ({"customer": "{create: crm, owner: crm}"}, "create"),
    ],
)
def test_a_wrong_file_is_refused_with_the_place(kinds, sentence):
    with pytest.raises(Broken, match=sentence):
        load(matrix(**kinds))


def test_everything_that_is_wrong_is_told_at_once():
    text = "version: 1\nobjects:\n  martian: {create: [crm], owner: crm}\n  customer: {create: [x], owner: y}\n"
    with pytest.raises(Broken) as wrong:
        load(text)
    for sentence in (
        "martian is no kind",
        "x is no role",
        "y is no role",
        "nobody owns contract",
        "nobody owns payment",
    ):
        assert sentence in str(wrong.value)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "version: 1", "version: [", "objects: {}", "a: 1\na: 2", "version: !!python/name:os.system", "[" * 400],
)
def test_text_that_is_no_ownership_file_is_refused(text):
    with pytest.raises(Broken):
        load(text)


def test_telling_a_system_what_it_owns_itself_is_a_circle():
    ours = load(matrix(customer="{create: [crm], owner: crm, fields: {customer_number: erp}}"))
    told = {"customer": {"crm": {"name", "customer_number", "status"}}}
    assert check_flows(ours, {}, told) == ["customer.name is owned by crm and also written to crm: a circle"]


def test_what_the_hub_makes_it_may_tell_to_the_one_who_takes_it_over():
    ours = load(matrix(project="{create: [hub], owner: hub, fields: {manager: psa}}"))
    assert check_flows(ours, {"project": {"psa": {"manager"}}}, {"project": {"psa": {"manager", "name"}}}) == []


def test_what_an_owner_owns_in_some_status_only_may_be_told_to_it():
    ours = load(matrix(customer="{create: [crm], owner: erp, fields: {name: {prospect: crm, '*': erp}}}"))
    assert check_flows(ours, {}, {"customer": {"crm": {"name"}}}) == []


def test_an_owner_that_is_read_but_never_says_the_field_is_named():
    ours = load(
        matrix(customer="{create: [crm], owner: crm, fields: {credit_hold: erp, region: {prospect: erp, '*': hub}}}")
    )
    heard = {"customer": {"erp": {"customer_number"}, "crm": {"name"}}}
    assert check_flows(ours, heard, {}) == [
        "customer.credit_hold is owned by erp, but no mapping of erp fills it",
        "customer.region is owned by erp, but no mapping of erp fills it",
    ]
    assert check_flows(ours, {"customer": {"erp": {"credit_hold", "region"}}}, {}) == []


def test_words_that_are_no_fields_are_no_circle():
    ours = load(matrix())
    assert check_flows(ours, {}, {"contract": {"crm": {"status_text", "billed_amount", "gid"}}}) == []
