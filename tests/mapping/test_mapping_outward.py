"""Ours to theirs: targets by dotted path, nothing for null, references by the system's own identifiers."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mapping_text import outward_mapping, source, told

from trueup.connectors.sdk.client import _ENCODER
from trueup.kernel.errors import Broken
from trueup.mapping.examples import failures
from trueup.mapping.file import load

IDS = {("cus_1", "customer"): "9001", ("cus_1", "location"): "77"}


def known(gid, name):
    return IDS.get((gid, name))


def test_values_stand_at_their_targets():
    fields = {
        "entity.id": {"text": "number"},
        "entity.name": {"text": "name"},
        "memo": {"text": "gid"},
        "state": {"text": "status"},
    }
    built = told(fields, {"number": "7", "name": "Acme", "gid": "cus_1", "status": "active", "version": 3})
    assert built.body == {"entity": {"id": "7", "name": "Acme"}, "memo": "cus_1", "state": "active"}
    assert (built.problems, built.waits_for) == ((), ())


def test_what_is_null_is_left_out():
    fields = {"a": {"text": "a", "optional": True}, "b.c": {"text": "b", "optional": True}, "d": {"text": "d"}}
    assert told(fields, {"a": None, "d": "x"}).body == {"d": "x"}


def test_what_is_missing_is_a_problem_also_outward():
    built = told({"a": {"text": "a"}, "b": {"integer": "b"}}, {"b": "x"})
    assert [(p.field, p.code) for p in built.problems] == [("a", "missing"), ("b", "not_a_number")]


def test_references_become_the_systems_own_identifiers():
    built = told({"entity.id": {"ref": "customer", "object": "customer"}}, {"customer": "cus_1"}, known)
    assert built.body == {"entity": {"id": "9001"}}
    assert built.waits_for == ()


def test_what_the_system_does_not_know_yet_is_named():
    fields = {
        "entity.id": {"ref": "customer", "object": "customer"},
        "job.id": {"ref": "project", "object": "job"},
        "lines": {"each": "lines", "fields": {"at.id": {"ref": "bill_to", "object": "location"}}},
        "none": {"ref": "nobody", "object": "customer", "optional": True},
    }
    body = {"customer": "cus_2", "project": "prj_1", "lines": [{"bill_to": "cus_1"}, {"bill_to": "cus_3"}]}
    built = told(fields, body, known)
    assert built.waits_for == (("cus_2", "customer"), ("prj_1", "job"), ("cus_3", "location"))


@pytest.mark.parametrize(
    ("value", "wire"),
    [
        ("12.50", b"12.50"),
        ("100", b"100"),
        ("100.00", b"100"),
        ("0.1", b"0.1"),
        ("-0.05", b"-0.05"),
        ("123456789012.3456", b"123456789012.3456"),
        ("1E+3", b"1000"),
    ],
)
def test_decimals_are_written_as_exact_numbers(value, wire):
    built = told({"rate": {"number": "rate"}}, {"rate": value})
    assert _ENCODER.encode(built.body) == b'{"rate":' + wire + b"}"


@given(st.decimals(-(10**9), 10**9, allow_nan=False, places=4))
def test_a_number_keeps_its_value_on_the_wire(value):
    built = told({"n": {"number": "n"}, "t": {"number_text": "n"}}, {"n": format(value, "f")})
    raw = _ENCODER.encode(built.body["n"])
    assert Decimal(raw.decode()) == value
    assert Decimal(built.body["t"]) == value


def test_days_and_instants_are_written_as_text():
    fields = {"on": {"day": "on"}, "at": {"instant": "at"}}
    assert told(fields, {"on": "2026-08-31", "at": "2026-08-31T09:00:00+02:00"}).body == {
        "on": "2026-08-31",
        "at": "2026-08-31T07:00:00+00:00",
    }


def test_lists_are_built_row_by_row():
    fields = {
        "item.items": {
            "each": "lines",
            "fields": {
                "item.id": {"const": "12"},
                "amount": {"number": "net"},
                "ours": {"text": "/gid"},
                "rate": {"number": "rate", "optional": True},
            },
        }
    }
    built = told(fields, {"gid": "inv_1", "lines": [{"net": "10.00", "rate": None}, {"net": "2.50", "rate": "2.5"}]})
    assert built.body == {
        "item": {
            "items": [
                {"item": {"id": "12"}, "amount": 10, "ours": "inv_1"},
                {"item": {"id": "12"}, "amount": Decimal("2.50"), "ours": "inv_1", "rate": Decimal("2.5")},
            ]
        }
    }


def test_tables_flags_and_joins_speak_outward_too():
    fields = {
        "approval.id": {"one_of": "status", "table": "approvals"},
        "open": {"yes": "status", "is": ["draft"]},
        "label": {"join": ["number", "=:", "name"], "with": " "},
        "first": {"first": ["legal_name", "name"]},
    }
    built = told(fields, {"status": "draft", "number": "7", "name": "Acme"}, tables={"approvals": {"draft": "1"}})
    assert built.body == {"approval": {"id": "1"}, "open": True, "label": "7 : Acme", "first": "Acme"}


def test_the_same_body_is_built_from_the_same_source():
    fields = {"b": {"text": "name"}, "a": {"number": "n"}}
    one, other = (told(fields, {"name": "x", "n": "1.50"}) for _ in range(2))
    assert _ENCODER.encode(one.body) == _ENCODER.encode(other.body)


@pytest.mark.parametrize(
    "fields",
    [
        {"entity": {"text": "name"}, "entity.id": {"text": "number"}},
        {"entity.id": {"text": "number"}, "entity": {"text": "name"}},
        {"a.b": {"text": "name"}, "a.b.c.d": {"text": "number"}},
        {"lines": {"each": "lines", "fields": {"a": {"text": "k"}, "a.b": {"text": "k"}}}},
    ],
)
def test_two_targets_cannot_stand_in_each_others_place(fields):
    with pytest.raises(Broken, match="place"):
        outward_mapping(fields)


def test_an_outward_example_runs_too():
    text = {
        "mapping": "customer -> acme.Thing",
        "key": None,
        "fields": {"entity.id": {"ref": "parent", "object": "Account"}, "net": {"number": "net"}},
    }
    good = {
        "is": "one",
        "in": {"parent": "cus_1", "net": "5.10"},
        "out": {"entity": {"id": "Account/cus_1"}, "net": 5.1},
    }
    assert failures(load(source(**text, examples=[good]))) == []
    bad = good | {"out": {"entity": {"id": "Account/cus_1"}, "net": 5.2}}
    assert failures(load(source(**text, examples=[bad]))) == [
        "customer -> acme.Thing v1, example 'one': net: expected '5.2', got '5.1'"
    ]
