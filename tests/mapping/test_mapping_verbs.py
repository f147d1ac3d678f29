"""The vocabulary, verb by verb: what passes, what is a problem, and that a record never raises."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mapping_text import said, told, translated

from trueup.kernel.errors import Broken
from trueup.kernel.money import minor_digits
from trueup.mapping.verbs import VERBS, Ref

ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(["1E+999999", "0E+999999", "NaN", "9" * 400, "2026-08-31", "0001-01-01T00:00:00+14:00", "EUR"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "id"]), inner, max_size=3),
    max_leaves=6,
)
LINES = {
    "text": {"text": "a"},
    "upper": {"upper": "a"},
    "number": {"number": "a"},
    "number_text": {"number_text": "a"},
    "integer": {"integer": "a"},
    "money": {"money": "a", "currency": "b"},
    "cents": {"cents": "a", "base": "b"},
    "to_cents": {"to_cents": "a", "currency": "=JPY"},
    "day": {"day": "a"},
    "instant": {"instant": "a"},
    "flag": {"flag": "a"},
    "yes": {"yes": "a", "is": ["x"]},
    "one_of": {"one_of": "a", "table": "words"},
    "ref": {"ref": "a", "object": "Account"},
    "const": {"const": "x"},
    "first": {"first": ["a", "b"]},
    "share": {"share": "a"},
    "join": {"join": ["a", "b"]},
    "hours_to_minutes": {"hours_to_minutes": "a"},
    "each": {"each": "a", "fields": {"b": {"text": "b"}}},
    "pick": {"pick": "a", "where": {"id": 1}, "take": "b"},
}
TABLES = {"words": {"x": "y"}}


def test_every_verb_is_tried_here_and_has_a_manual():
    assert set(LINES) == set(VERBS)
    for name, maker in VERBS.items():
        assert (maker.__doc__ or "").startswith(f"`{{{name}: "), name


@given(st.sampled_from(sorted(LINES)), ANYTHING, ANYTHING)
def test_a_record_never_raises_whatever_stands_in_it(verb, one, other):
    found = translated({"field": LINES[verb]}, {"a": one, "b": other}, tables=TABLES)
    assert ("field" in found.values) != bool(found.problems)


@pytest.mark.parametrize("verb", sorted(set(VERBS) - {"const", "yes"}))
def test_absence_is_a_problem_unless_the_file_says_otherwise(verb):
    line = LINES[verb]
    for record in ({}, {"a": None}, {"a": ""}):
        assert said(line, record, tables=TABLES) == "!missing"
        assert said(line | {"optional": True}, record, tables=TABLES) is None
        assert said(line | {"default": "d"}, record, tables=TABLES) == "d"


def test_a_default_may_be_false_nought_or_null():
    assert said({"flag": "a", "default": False}, {}) is False
    assert said({"integer": "a", "default": 0}, {}) == 0
    assert said({"text": "a", "default": None}, {}) is None


def test_a_default_is_not_used_when_there_is_a_bad_value():
    assert said({"integer": "a", "default": 30}, {"a": "soon"}) == "!not_a_number"


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (" Zoë ", "Zoë"),
        ("null", "null"),
        ("007", "007"),
        (7, "7"),
        (Decimal("7.50"), "7.50"),
        (True, "!not_text"),
        ({"a": 1}, "!not_text"),
        (["a"], "!not_text"),
        ("x" * 4000, "x" * 4000),
        ("x" * 4001, "!too_long"),
    ],
)
def test_text(value, wanted):
    assert said({"text": "a"}, {"a": value}) == wanted


def test_text_may_have_a_limit_of_its_own():
    assert said({"text": "a", "max": 3}, {"a": " abc "}) == "abc"
    assert said({"text": "a", "max": 3}, {"a": "abcd"}) == "!too_long"
    assert said({"upper": "a", "max": 2}, {"a": "deu"}) == "!too_long"


def test_upper():
    assert said({"upper": "a"}, {"a": " de "}) == "DE"


NUMBERS = [
    ("12.50", "12.50"),
    (" 12.50 ", "12.50"),
    ("-3", "-3"),
    (12, "12"),
    (Decimal("0.1000"), "0.1000"),
    ("1E+5", "1E+5"),
    ("9999999999999", "9999999999999"),
    ("0.0000000001", "1E-10"),
]
NO_NUMBERS = [
    ("", "!missing"),
    (" ", "!not_a_number"),
    ("1,5", "!not_a_number"),
    ("1.234,56", "!not_a_number"),
    ("1'000", "!not_a_number"),
    ("1_000", "!not_a_number"),
    ("١٢", "!not_a_number"),
    ("１２", "!not_a_number"),
    ("0x10", "!not_a_number"),
    ("twelve", "!not_a_number"),
    (True, "!not_a_number"),
    ([12], "!not_a_number"),
    ({"amount": 12}, "!not_a_number"),
    ("NaN", "!out_of_range"),
    ("sNaN", "!out_of_range"),
    ("Infinity", "!out_of_range"),
    ("1E+999999", "!out_of_range"),
    ("0E+999999", "!out_of_range"),
    ("1E-999999", "!out_of_range"),
    ("10000000000000", "!out_of_range"),
    ("0.00000000001", "!out_of_range"),
    ("9" * 5000, "!out_of_range"),
]


@pytest.mark.parametrize(("value", "wanted"), NUMBERS)
def test_number(value, wanted):
    found = said({"number": "a"}, {"a": value})
    assert isinstance(found, Decimal)
    assert str(found) == wanted


@pytest.mark.parametrize("verb", ["number", "number_text", "integer", "share", "hours_to_minutes"])
@pytest.mark.parametrize(("value", "wanted"), NO_NUMBERS)
def test_no_number(verb, value, wanted):
    assert said({verb: "a"}, {"a": value}) == wanted


@pytest.mark.parametrize(("value", "wanted"), NO_NUMBERS)
def test_no_money(value, wanted):
    assert said({"money": "a", "currency": "=EUR"}, {"a": value}) == wanted
    assert said({"cents": "a"}, {"a": value}) == wanted


def test_number_text():
    assert said({"number_text": "a"}, {"a": Decimal("1E+3")}) == "1000"
    assert said({"number_text": "a"}, {"a": "12.50"}) == "12.50"


@pytest.mark.parametrize(("value", "wanted"), [(3, 3), ("3.0", 3), (Decimal("-4"), -4), ("3.5", "!not_whole")])
def test_integer(value, wanted):
    assert said({"integer": "a"}, {"a": value}) == wanted


@pytest.mark.parametrize(
    ("value", "currency", "wanted"),
    [
        ("12.5", "EUR", "12.50"),
        (12, "EUR", "12.00"),
        ("12.345", "EUR", "!not_exact"),
        ("12.340", "EUR", "12.34"),
        ("5", "JPY", "5"),
        ("1.5", "JPY", "!not_exact"),
        ("1.234", "KWD", "1.234"),
        ("1.2345", "KWD", "!not_exact"),
        ("1.2345", "CLF", "1.2345"),
        ("-0.01", "USD", "-0.01"),
        ("99.50", "RSD", "99.50"),
        ("1", "EURO", "!unknown_currency"),
        ("1", "eur", "!unknown_currency"),
        ("1", None, "!unknown_currency"),
        ("1", ["EUR"], "!unknown_currency"),
    ],
)
def test_money(value, currency, wanted):
    assert str(said({"money": "a", "currency": "b"}, {"a": value, "b": currency})) == wanted


def test_money_in_one_currency_for_ever():
    assert said({"money": "a", "currency": "=JPY"}, {"a": "5.5"}) == "!not_exact"


@pytest.mark.parametrize(
    ("value", "base", "wanted"),
    [
        (1234, None, "12.34"),
        (1234, 100, "12.34"),
        ("1234", "100", "12.34"),
        (5, 1, "5"),
        (1234, 1000, "1.234"),
        (7, 5, "1.4000"),
        (-50, 100, "-0.50"),
        (Decimal("12.5"), 100, "!not_whole"),
        (1234, "many", "!not_a_number"),
        (1234, {"x": 1}, "!not_a_number"),
        (1234, -100, "!not_exact"),
        (1234, 3, "!not_exact"),
    ],
)
def test_cents(value, base, wanted):
    assert str(said({"cents": "a", "base": "b"}, {"a": value, "b": base})) == wanted


def test_cents_without_a_base_are_hundredths():
    assert str(said({"cents": "a"}, {"a": 1234})) == "12.34"


@given(st.integers(-(10**9), 10**9), st.sampled_from(["EUR", "JPY", "KWD"]))
def test_cents_in_and_out_are_the_same(whole, currency):
    base = 10 ** minor_digits(currency)
    amount = said({"cents": "a", "base": "b"}, {"a": whole, "b": base})
    assert told({"x": {"to_cents": "a", "currency": "b"}}, {"a": str(amount), "b": currency}).body == {"x": whole}


def test_to_cents():
    line = {"to_cents": "a", "currency": "b"}
    assert said(line, {"a": "12.34", "b": "EUR"}) == 1234
    assert said(line, {"a": "5", "b": "JPY"}) == 5
    assert said(line, {"a": "0.001", "b": "EUR"}) == "!not_exact"


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("2026-08-31", date(2026, 8, 31)),
        ("2026-08-31T23:30:00-07:00", date(2026, 8, 31)),
        ("2026-08-31 23:30:00", date(2026, 8, 31)),
        ("2026-08-31T00:00:00.000+0000", date(2026, 8, 31)),
        (date(2026, 8, 31), date(2026, 8, 31)),
        ("9999-12-31", date(9999, 12, 31)),
        ("2024-02-30", "!not_a_day"),
        ("2023-02-29", "!not_a_day"),
        ("0000-01-01", "!not_a_day"),
        ("10000-01-01", "!not_a_day"),
        ("2026-08-311", "!not_a_day"),
        ("2026-08-31 or so", "!not_a_day"),
        ("2026-W35-1", "!not_a_day"),
        ("20260831", "!not_a_day"),
        (20260831, "!not_a_day"),
        (45000, "!not_a_day"),
        (1788134400, "!not_a_day"),
        (1788134400000, "!not_a_day"),
        ("03/04/2026", "!not_a_day"),
        ("31.08.2026", "!not_a_day"),
        ("infinity", "!not_a_day"),
        ("٢٠٢٦-08-31", "!not_a_day"),
        (True, "!not_a_day"),
        ({}, "!not_a_day"),
    ],
)
def test_day(value, wanted):
    assert said({"day": "a"}, {"a": value}) == wanted


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("2026-08-31T09:30:00+02:00", datetime(2026, 8, 31, 7, 30, tzinfo=UTC)),
        ("2026-08-31T09:30:00.000+0200", datetime(2026, 8, 31, 7, 30, tzinfo=UTC)),
        ("2026-08-31T07:30:00Z", datetime(2026, 8, 31, 7, 30, tzinfo=UTC)),
        ("2026-08-31T09:30:00", "!not_an_instant"),
        ("2026-08-31", "!not_an_instant"),
        ("2026-08-31T09:30:60Z", "!not_an_instant"),
        ("2026-08-31T09:30:00+25:00", "!not_an_instant"),
        ("0001-01-01T00:00:00+14:00", "!not_an_instant"),
        (1788134400, "!not_an_instant"),
        ([], "!not_an_instant"),
    ],
)
def test_instant(value, wanted):
    assert said({"instant": "a"}, {"a": value}) == wanted


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (True, True),
        (False, False),
        ("true", True),
        ("false", False),
        ("T", True),
        ("F", False),
        ("Y", True),
        ("N", False),
        (1, "!not_a_flag"),
        (0, "!not_a_flag"),
        ("yes", "!not_a_flag"),
        ("True", "!not_a_flag"),
        ([], "!not_a_flag"),
    ],
)
def test_flag(value, wanted):
    assert said({"flag": "a"}, {"a": value}) == wanted


@pytest.mark.parametrize(
    ("value", "wanted"),
    [("approved", True), ("Approved", False), ("rejected", False), (None, False), ("", False), (2, True), ("2", True)],
)
def test_yes(value, wanted):
    assert said({"yes": "a", "is": ["approved", 2]}, {"a": value}) is wanted


def test_yes_of_a_path_that_is_not_there_is_false():
    assert said({"yes": "a.b.c", "is": ["approved"]}, {}) is False


@pytest.mark.parametrize(
    ("value", "wanted"), [("T&M", "time"), (5, "five"), ("Barter", "!not_in_table"), (["T&M"], "!not_in_table")]
)
def test_one_of(value, wanted):
    tables = {"methods": {"T&M": "time", 5: "five"}}
    assert said({"one_of": "a", "table": "methods"}, {"a": value}, tables=tables) == wanted


def test_one_of_may_give_numbers():
    assert said({"one_of": "a", "table": "terms"}, {"a": "net thirty"}, tables={"terms": {"net thirty": 30}}) == 30


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("001A", Ref("Account", "001A")),
        (41000007, Ref("Account", "41000007")),
        (True, "!not_a_reference"),
        ({"id": 1}, "!not_a_reference"),
        (["001A"], "!not_a_reference"),
        (Decimal("1.5"), "!not_a_reference"),
    ],
)
def test_ref(value, wanted):
    assert said({"ref": "a", "object": "Account"}, {"a": value}) == wanted


@pytest.mark.parametrize("value", ["EUR", 5, False])
def test_const(value):
    assert said({"const": value}, {}) == value


@pytest.mark.parametrize(
    ("record", "wanted"),
    [
        ({"a": " Legal ", "b": "Name"}, "Legal"),
        ({"a": None, "b": "Name"}, "Name"),
        ({"a": "", "b": 7}, "7"),
        ({"b": "Name"}, "Name"),
        ({}, "!missing"),
        ({"a": {"x": 1}, "b": "Name"}, "!not_text"),
        ({"a": ["x"], "b": "Name"}, "!not_text"),
    ],
)
def test_first(record, wanted):
    assert said({"first": ["a", "b"]}, record) == wanted


@pytest.mark.parametrize(("value", "wanted"), [(5, "0.05"), ("12.5", "0.125"), (0, "0"), (100, "1")])
def test_share(value, wanted):
    assert str(said({"share": "a"}, {"a": value})) == wanted


@pytest.mark.parametrize(
    ("record", "wanted"),
    [
        ({"a": "D07 ", "b": " Plan"}, "D07 - Plan"),
        ({"a": 7, "b": "x"}, "7 - x"),
        ({"a": "D07"}, "!missing"),
        ({"a": {"x": 1}, "b": "x"}, "!not_text"),
    ],
)
def test_join(record, wanted):
    assert said({"join": ["a", "=-", "b"], "with": " "}, record) == wanted


@pytest.mark.parametrize(("value", "wanted"), [("1.5", 90), (8, 480), ("0.25", 15), ("0.01", "!not_exact"), (0, 0)])
def test_hours_to_minutes(value, wanted):
    assert said({"hours_to_minutes": "a"}, {"a": value}) == wanted


def test_each():
    line = {"each": "a", "fields": {"key": {"text": "k"}, "own": {"text": "/id"}}}
    assert said(line, {"a": [{"k": "x"}, {"k": "y"}]}) == [{"key": "x", "own": "1"}, {"key": "y", "own": "1"}]
    assert said(line, {"a": []}) == []
    assert said(line, {"a": {"k": "x"}}) == "!not_a_list"
    assert said(line, {"a": "xy"}) == "!not_a_list"


def test_each_names_the_problems_of_all_its_rows():
    fields = {"lines": {"each": "a", "fields": {"key": {"text": "k"}, "net": {"money": "n", "currency": "=EUR"}}}}
    rows = [{"k": "x", "n": "0.001"}, {"n": "1"}, {"k": "z", "n": "2"}, 5]
    found = translated(fields, {"a": rows})
    assert [(p.field, p.code) for p in found.problems] == [
        ("lines.net", "not_exact"),
        ("lines.key", "missing"),
        ("lines.key", "missing"),
        ("lines.net", "missing"),
    ]


def test_rows_inside_rows():
    inner = {"each": "parts", "fields": {"n": {"integer": "n"}}}
    fields = {"lines": {"each": "a", "fields": {"parts": inner}}}
    assert translated(fields, {"a": [{"parts": [{"n": 1}]}]}).values == {"lines": [{"parts": [{"n": 1}]}]}
    (problem,) = translated(fields, {"a": [{"parts": [{"n": "x"}]}]}).problems
    assert (problem.field, problem.code) == ("lines.parts.n", "not_a_number")


@pytest.mark.parametrize(
    ("rows", "wanted"),
    [
        ([{"id": "c4", "v": 1}, {"id": "c5", "v": "found"}], "found"),
        ([{"id": "c5", "v": None}, {"id": "c5", "v": "second"}], "!missing"),
        (["c5", 5, None, {"id": "c5", "v": 7}], 7),
        ([], "!missing"),
        (None, "!missing"),
        (5, "!not_a_list"),
        ("c5", "!not_a_list"),
        ({"id": "c5", "v": 1}, "!not_a_list"),
    ],
)
def test_pick(rows, wanted):
    assert said({"pick": "a", "where": {"id": "c5"}, "take": "v"}, {"a": rows}) == wanted


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ({"money": "a"}, "needs the option currency"),
        ({"money": "a", "currency": "=EURO"}, "EURO"),
        ({"yes": "a"}, "needs the option is"),
        ({"one_of": "a"}, "needs the option table"),
        ({"one_of": "a", "table": "nowhere"}, "no table 'nowhere'"),
        ({"ref": "a"}, "needs the option object"),
        ({"each": "a"}, "needs the option fields"),
        ({"pick": "a", "take": "v"}, "needs the option where"),
        ({"text": "a", "optinal": True}, "optinal"),
        ({"text": "a", "currency": "=EUR"}, "currency"),
        ({"yes": "a", "is": 5}, "field"),
        ({"pick": "a", "take": "v", "where": 5}, "field"),
        ({"each": "a", "fields": 5}, "field"),
        ({"first": 5}, "field"),
        ({"shout": "a"}, "no verb 'shout'"),
        ({"each": "a", "fields": {"x": {"shout": "b"}}}, "no verb 'shout'"),
        ({}, "a line is written"),
    ],
)
def test_a_line_that_cannot_work_is_refused_when_the_file_is_loaded(line, sentence):
    with pytest.raises(Broken, match=sentence):
        said(line, {})
