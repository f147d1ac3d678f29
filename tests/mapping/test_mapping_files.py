"""A mapping file as a whole: head, key, rows, ignore, problems, and what is refused when it is loaded."""

import doctest
import hashlib
import textwrap
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mapping_text import mapping, source, translated

from trueup.kernel.errors import Broken
from trueup.kernel.problems import Wrong
from trueup.mapping import examples, file, outward, paths, translate, verbs
from trueup.mapping.examples import failures
from trueup.mapping.file import load
from trueup.mapping.paths import getter
from trueup.mapping.verbs import Ref


@pytest.mark.parametrize("module", [examples, file, outward, paths, translate, verbs], ids=lambda m: m.__name__)
def test_the_examples_in_the_manual_hold(module):
    assert doctest.testmod(module).failed == 0


RECORD = {
    "name": "Acme",
    "owner": {"name": "Ada", "tags": ["x", {"y": 1}]},
    "items": [{"id": "a"}, {"id": "b", "n": None}],
    "0": "zero",
}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("name", "Acme"),
        ("owner.name", "Ada"),
        ("owner.tags.0", "x"),
        ("owner.tags.1.y", 1),
        ("items.1.id", "b"),
        ("items.1.n", None),
        ("items.2.id", None),
        ("items.id", None),
        ("owner.name.first", None),
        ("nothing", None),
        ("nothing.at.all", None),
        ("0", "zero"),
        ("name.0", None),
    ],
)
def test_a_path_finds_what_is_there_and_null_what_is_not(path, value):
    assert getter(path)(RECORD, RECORD) == value


def test_a_path_with_a_slash_starts_at_the_record():
    row = RECORD["items"][0]
    assert getter("id")(row, RECORD) == "a"
    assert getter("/name")(row, RECORD) == "Acme"
    assert getter("/items.1.id")(row, RECORD) == "b"


@given(st.text(max_size=10), st.none() | st.integers() | st.text() | st.lists(st.integers(), max_size=2))
def test_a_path_never_raises_on_data(path, row):
    getter(f"a.{path.replace('/', '')}" if not any(step.isdigit() for step in path) else "a.0")(row, row)


def test_all_problems_of_a_record_come_out_at_once():
    fields = {
        "name": {"text": "name"},
        "country": {"text": "country", "max": 2},
        "net": {"money": "net", "currency": "currency"},
        "on": {"day": "on"},
        "kept": {"text": "kept"},
    }
    found = translated(fields, {"country": "Germany", "net": "1.005", "currency": "EUR", "on": "soon", "kept": "yes"})
    assert [(p.field, p.code) for p in found.problems] == [
        ("name", "missing"),
        ("country", "too_long"),
        ("net", "not_exact"),
        ("on", "not_a_day"),
    ]
    assert found.values == {"kept": "yes"}


def test_a_message_tells_what_to_do():
    (problem,) = translated({"how": {"one_of": "how", "table": "t"}}, {"how": "Barter"}, tables={"t": {}}).problems
    assert problem.message == "how is 'Barter'; add it to the table t or fix the record"


def broken_of(found):
    return [(p.field, p.code) for one in found for p in one.problems]


@pytest.mark.parametrize("record", [[], "text", 5, None, True])
def test_a_record_that_is_no_object_is_a_problem(record):
    assert broken_of(translate.translate(mapping(), record)) == [("record", "missing")]


@pytest.mark.parametrize("record", [{}, {"id": None}, {"id": {"x": 1}}, {"id": [1]}])
def test_a_record_without_a_key_is_a_problem(record):
    assert broken_of(translate.translate(mapping(), record)) == [("key", "missing")]


def test_a_key_of_several_parts_is_joined_by_slashes():
    (found,) = translate.translate(mapping(key=["report.id", "line"]), {"report": {"id": "R1"}, "line": 3, "name": "x"})
    assert found.external_id == "R1/3"
    assert broken_of(translate.translate(mapping(key=["report.id", "line"]), {"line": 3})) == [("key", "missing")]


def test_stamp_own_identifier_and_match_are_read_where_the_file_says():
    known = mapping(stamp="at", own="ref.ours", match={"email": "mail"})
    record = {"id": 7, "name": "x", "at": "2026-08-31", "ref": {"ours": "cus_1"}, "mail": "a@nordlys.example"}
    (found,) = translate.translate(known, record)
    assert (found.external_id, found.stamp, found.own) == ("7", "2026-08-31", "cus_1")
    assert found.match == (("email", "a@nordlys.example"),)
    (found,) = translate.translate(known, {"id": 7, "name": "x", "mail": ""})
    assert (found.stamp, found.own, found.match) == ("", None, ())


def test_rows_become_one_object_each():
    rows = mapping({"name": {"text": "n"}, "report": {"text": "/report"}}, rows="entries", key=["/report", "line"])
    record = {"report": "R1", "entries": [{"line": 1, "n": "a"}, {"line": 2, "n": None}, {"n": "c"}, 5]}
    found = translate.translate(rows, record)
    assert [one.external_id for one in found] == ["R1/1", "R1/2", "", ""]
    assert found[0].values == {"name": "a", "report": "R1"}
    assert broken_of(found) == [("name", "missing"), ("key", "missing"), ("record", "missing")]
    assert translate.translate(rows, {"report": "R1", "entries": []}) == []


@pytest.mark.parametrize("entries", [None, {}, "x", 5])
def test_rows_that_are_no_list_are_a_problem(entries):
    rows = mapping(rows="entries")
    assert broken_of(translate.translate(rows, {"id": 1, "entries": entries})) == [("rows", "missing")]


INTERNAL = {"when": {"type": "Internal", "state.open": [True, None]}, "rule": "internal_accounts", "why": "Not ours."}


@pytest.mark.parametrize(
    ("record", "rule"),
    [
        ({"type": "Internal", "state": {"open": True}}, "internal_accounts"),
        ({"type": "Internal"}, "internal_accounts"),
        ({"type": "Internal", "state": {"open": False}}, None),
        ({"type": "Customer", "state": {"open": True}}, None),
        ({}, None),
    ],
)
def test_a_record_is_ignored_by_a_named_rule_when_everything_it_asks_for_is_so(record, rule):
    (found,) = translate.translate(mapping({"note": {"text": "note"}}, ignore=[INTERNAL]), {"id": 1} | record)
    assert found.ignored == rule
    assert bool(found.problems) == (rule is None)


def test_the_first_rule_that_fits_counts():
    second = {"when": {"type": "Internal"}, "rule": "second", "why": "Later."}
    (found,) = translate.translate(mapping(ignore=[INTERNAL, second]), {"id": 1, "type": "Internal"})
    assert found.ignored == "internal_accounts"


def test_a_file_knows_what_it_is_about():
    text = source()
    found = load(text)
    assert (found.name, found.version, found.digest) == (
        "acme.Thing -> customer",
        1,
        hashlib.sha256(text.encode()).hexdigest(),
    )
    assert (found.system, found.object, found.kind, found.outward) == ("acme", "Thing", "customer", False)
    out = load(source(mapping="customer -> acme.Thing", key=None))
    assert (out.system, out.object, out.kind, out.outward) == ("acme", "Thing", "customer", True)


def test_a_workspace_may_bring_verbs_of_its_own_and_their_faults_are_problems():
    def shout(line):
        return lambda value, row, record: str(value).upper() + "!"

    def stumble(line):
        return lambda value, row, record: record["nowhere"]["at all"]

    def wrong(line):
        def convert(value, row, record):
            raise Wrong("odd", "it is odd")

        return convert

    verbs = {"shout": shout, "stumble": stumble, "wrong": wrong}
    fields = {"a": {"shout": "name"}, "b": {"stumble": "name"}, "c": {"wrong": "name"}}
    found = translated(fields, {"name": "x"}, verbs=verbs)
    assert found.values == {"a": "X!"}
    assert [(p.field, p.code) for p in found.problems] == [("b", "invalid"), ("c", "odd")]


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ({"mapping": "acme.Thing"}, "write `vendor.Object -> kind`"),
        ({"mapping": "Thing -> customer"}, "write `vendor.Object -> kind`"),
        ({"mapping": "acme.Thing -> acme.customer"}, "write `vendor.Object -> kind`"),
        ({"mapping": "acme.Thing → customer"}, "write `vendor.Object -> kind`"),
        ({"key": None}, "needs `key`"),
        ({"version": 0}, "version"),
        ({"version": None}, "version"),
        ({"why": None}, "why"),
        ({"examples": []}, "examples"),
        ({"examples": None}, "examples"),
        ({"fields": {"name": "Name"}}, "fields"),
        ({"fields": {"name": {}}}, "a line is written"),
        ({"ignore": [{"when": {"a": 1}, "rule": "r"}]}, "why"),
        ({"extra": 1}, "extra"),
        ({"examples": [{"is": "x", "in": {}, "wanted": {}}]}, "wanted"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_the_place(parts, sentence):
    with pytest.raises(Broken, match=sentence):
        load(source(**parts))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "just text",
        "mapping: [unclosed",
        "a: 1\na: 2",
        "key: !!python/object/apply:os.system ['true']",
        "key: !!python/name:os.system",
        "x" * 300_000,
    ],
    ids=["empty", "list", "text", "unclosed", "key twice", "python call", "python name", "long"],
)
def test_text_that_is_no_mapping_file_is_refused(text):
    with pytest.raises(Broken):
        load(text)


HEAD = "mapping: acme.Thing -> customer\nversion: 1\nwhy: x\nkey: id\nfields: {name: {text: name}}\n"


def test_a_bomb_of_aliases_is_refused_at_once():
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9))
    began = time.perf_counter()
    with pytest.raises(Broken, match="aliases"):
        load(
            HEAD
            + "tables: {t:\n"
            + textwrap.indent("{" + bomb.replace("\n", ",\n") + "}", "  ")
            + "}\n"
            + "examples: [{is: x, in: {id: *a8}}]\n"
        )
    assert time.perf_counter() - began < 2.0


@pytest.mark.parametrize("text", ["examples: &a [*a]", "examples: " + "[" * 400 + "]" * 400])
def test_a_document_without_end_or_bottom_is_refused(text):
    with pytest.raises(Broken):
        load(HEAD + text)


def test_an_example_that_does_not_hold_is_told():
    wanted = [{"is": "a name", "in": {"id": 1, "name": " Acme "}, "out": {"name": "Acme AG"}}]
    assert failures(mapping(examples=wanted)) == [
        "acme.Thing -> customer v1, example 'a name': name: expected 'Acme AG', got 'Acme'"
    ]
    wanted = [{"is": "no name", "in": {"id": 1}, "problems": ["name not_text"]}]
    assert "expected problems ['name not_text'], got ['name missing']" in failures(mapping(examples=wanted))[0]
    wanted = [{"is": "ours", "in": {"id": 1, "name": "x"}, "ignored": "internal"}]
    assert "expected ignored internal, got None" in failures(mapping(examples=wanted))[0]


def test_an_example_that_holds_is_silent():
    fields = {
        "customer": {"ref": "c", "object": "Account"},
        "net": {"money": "n", "currency": "=EUR"},
        "due_on": {"day": "d"},
    }
    example = {
        "is": "all of it",
        "in": {"id": 1, "c": 7, "n": "12.00", "d": "2026-08-31"},
        "out": {"customer": "ref:Account/7", "net": 12, "due_on": "2026-08-31"},
    }
    assert failures(mapping(fields, examples=[example])) == []


def test_references_are_kept_for_the_crosswalk():
    found = translated({"customer": {"ref": "c", "object": "Account"}}, {"c": "7"}, mapping="acme.Thing -> contract")
    assert found.values == {"customer": Ref("Account", "7")}
