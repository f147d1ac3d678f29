"""Bytes from outside are read strictly: what two readers could understand differently is refused."""

import contextlib
import doctest
import json
import time
import tracemalloc
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueup.kernel import strict_json
from trueup.kernel.strict_json import MAX_BYTES, digest, plain, read, read_kept, write

BACKSLASH = b"\x5c"
DECIMALS = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**12), max_value=10**12, places=4)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(10**18), 10**18)
    | DECIMALS
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)
)
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=10)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=15
)


def test_the_examples_in_the_manual_hold():
    assert doctest.testmod(strict_json).failed == 0


HOSTILE = {
    "A1 nothing": b"",
    "A1 only spaces": b" \r\n\t ",
    "A2 a byte that is no UTF-8": b'"\xff"',
    "A2 an overlong slash": b'"\xc0\xaf"',
    "A2 UTF-16 with mark": '{"a":1}'.encode("utf-16"),
    "A2 UTF-16 without mark": '{"a":1}'.encode("utf-16-le"),
    "A2 UTF-32": '{"a":1}'.encode("utf-32"),
    "A3 a byte order mark": b'\xef\xbb\xbf{"a":1}',
    "A4 NUL escaped": b'{"a":"x' + BACKSLASH + b'u0000"}',
    "A4 NUL escaped after an escaped backslash": b'{"a":"' + BACKSLASH * 3 + b'u0000"}',
    "A4 NUL in a key": b'{"' + BACKSLASH + b'u0000":1}',
    "A4 NUL as it is": b'{"a":"x\x00"}',
    "A5 a lone surrogate": b'{"a":"' + BACKSLASH + b'ud800"}',
    "A5 a lone low surrogate in capitals": b'{"a":"' + BACKSLASH + b'uDC00"}',
    "A5 a lone surrogate in a key": b'{"' + BACKSLASH + b'udfff":1}',
    "A6 a key twice": b'{"amount":1,"amount":999}',
    "A6 a key twice, once escaped": b'{"amount":1,"' + BACKSLASH + b'u0061mount":999}',
    "A6 a key twice further in": b'{"lines":[{"key":1,"key":1}]}',
    "A8 nested 65 deep": b"[" * 65 + b"]" * 65,
    "A8 nested 65 deep in objects": b'{"a":' * 65 + b"1" + b"}" * 65,
    "A8 a hundred thousand brackets": b"[" * 100_000,
    "A10 a hundred thousand small values": b"[" + b"1," * 99_999 + b"1]",
    "A10 a hundred thousand small objects": b"[" + b"{}," * 99_999 + b"{}]",
    "A11 NaN": b'{"a":NaN}',
    "A11 Infinity": b"Infinity",
    "A11 minus Infinity": b"[-Infinity]",
    "A12 1e400": b"1e400",
    "A12 1e131071": b"[" + b",".join([b"1e131071"] * 500) + b"]",
    "A12 an exponent no reader holds": b"1e9999999999999999999",
    "A12 a tiny number": b"1e-400",
    "A12 a fraction of a thousand digits": b"0." + b"1" * 1000,
    "A13 an integer of 5,000 digits": b"9" * 5000,
    "A13 an integer of 21 digits": b"9" * 21,
    "A14 a comment": b'{"a":1} // one',
    "A14 a trailing comma": b"[1,]",
    "A14 single quotes": b"{'a':1}",
    "A14 trailing bytes": b'{"a":1}x',
    "A14 two documents": b"{}{}",
    "A14 a leading zero": b"01",
    "A14 a leading plus": b"+1",
    "A14 hexadecimal": b"0x10",
    "A14 a point at the end": b"1.",
    "A14 a raw line break in a text": b'"a\nb"',
    "A14 a name without quotes": b"{a:1}",
    "A14 full-width digits": "１２".encode(),
}


@pytest.mark.parametrize("raw", HOSTILE.values(), ids=HOSTILE)
def test_hostile_bytes_are_refused_with_a_sentence(raw):
    with pytest.raises(ValueError) as refused:
        read(raw)
    assert str(refused.value)


def test_depth_and_size_are_refused_at_once_and_without_memory():
    tracemalloc.start()
    try:
        for raw in (
            b"[" * 100_000,
            b'[{"a":' * 50_000,
            b"[" + b"1," * 400_000 + b"1]",
            b"[" * 65 + b'"' + BACKSLASH * 300_001 + b'"' * 300_000,
            b"[" * 65 + (BACKSLASH + b'"') * 300_000,
            BACKSLASH * 500_000 + b"u0000",
            b" " * (MAX_BYTES + 1),
        ):
            began = time.perf_counter()
            with pytest.raises(ValueError):
                read(raw)
            assert time.perf_counter() - began < 1.0
        assert tracemalloc.get_traced_memory()[1] < 50_000_000
    finally:
        tracemalloc.stop()


def test_keys_that_only_look_alike_stay_apart():
    raw = '{"id":1,"ID":2,"ｉd":3}'.encode()
    assert read(raw) == {"id": 1, "ID": 2, "ｉd": 3}


def test_names_of_javascript_are_plain_data():
    assert read(b'{"__proto__":{"x":1},"constructor":{"prototype":2}}') == {
        "__proto__": {"x": 1},
        "constructor": {"prototype": 2},
    }


def test_text_about_escapes_is_no_escape():
    assert read(b'"' + BACKSLASH * 2 + b'u0000"') == "\\u0000"
    assert read(b'"' + BACKSLASH * 2 + b'ud800"') == "\\ud800"


def test_pairs_of_surrogates_are_one_character():
    assert read(b'"' + BACKSLASH + b"ud83d" + BACKSLASH + b'ude00"') == "\U0001f600"


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b"9223372036854775808", 2**63),
        (b"18446744073709551616", 2**64),
        (b"9007199254740993", 2**53 + 1),
        (b"-18446744073709551616", -(2**64)),
        (b"0.1", Decimal("0.1")),
        (b"1.10", Decimal("1.10")),
        (b"123456789012.1234", Decimal("123456789012.1234")),
        (b"-0", 0),
        (b"1e3", Decimal("1E+3")),
    ],
)
def test_numbers_keep_every_digit(raw, value):
    found = read(raw)
    assert found == value
    assert str(found) == str(value)


def test_64_levels_are_allowed_and_brackets_in_texts_do_not_count():
    assert read(b"[" * 64 + b"]" * 64)
    assert read(b'{"a":"' + b"[" * 500 + b'"}') == {"a": "[" * 500}
    assert read(b'{"a":"' + BACKSLASH + b'"' + b"[" * 500 + b'"}') == {"a": '"' + "[" * 500}


def test_commas_in_texts_are_no_values():
    text = "," * 200_000
    assert read(json.dumps({"notes": text}).encode()) == {"notes": text}


@given(VALUES)
def test_what_was_written_is_read_again(value):
    raw = json.dumps(plain(value)).encode()
    assert read(raw) == plain(value)
    assert read_kept(raw) == plain(value)


@given(VALUES)
def test_writing_is_the_same_as_writing_plain_values(value):
    assert json.loads(write(value)) == plain(value)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused_in_one_way(raw):
    with contextlib.suppress(ValueError):
        read(raw)


@given(st.dictionaries(NAMES, st.integers(-(2**53), 2**53) | NAMES, max_size=6), st.randoms(use_true_random=False))
def test_equal_content_has_an_equal_digest_in_any_order(content, random):
    items = list(content.items())
    random.shuffle(items)
    assert digest(dict(items)) == digest(content)


@given(NAMES, NAMES)
def test_other_content_has_another_digest(one, other):
    assert (digest({"a": one}) == digest({"a": other})) == (one == other)


def test_plain_values_are_text_and_whole_numbers():
    value = {"on": date(2026, 8, 31), "at": datetime(2026, 8, 31, 7, tzinfo=UTC), "net": Decimal("12.30"), 1: (1, None)}
    assert plain(value) == {"on": "2026-08-31", "at": "2026-08-31T07:00:00+00:00", "net": "12.30", "1": [1, None]}
    assert plain(True) is True


def test_a_float_has_no_place():
    with pytest.raises(ValueError, match="float"):
        plain({"net": 12.3})
