"""Conversions are exact and rounded once; what a receivable gains is cash less what was booked, in both engines."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trueup.billing import fx
from trueup.billing.frames import Shape
from trueup.billing.reference import fx as plain
from trueup.kernel.money import from_units, minor_digits, to_units

few = settings(deadline=None, max_examples=25)
START = date(2026, 3, 1)
CURRENCIES = ["EUR", "USD", "JPY", "KWD"]
days = st.integers(0, 12).map(lambda offset: START + timedelta(days=offset))
rates = st.integers(1_000_000, 400_000_000_000).map(lambda nano: Decimal(nano) / fx.ONE)


def frame(shape: Shape, *rows: tuple[Any, ...]) -> pl.DataFrame:
    schema = {name: column.dtype for name, column in shape.columns.items()}
    return pl.DataFrame(list(rows), schema=schema, orient="row")


@st.composite
def money(draw: st.DrawFn) -> tuple[Decimal, str]:
    currency = draw(st.sampled_from(CURRENCIES))
    return Decimal(draw(st.integers(-10_000_000, 10_000_000))).scaleb(-minor_digits(currency)), currency


@st.composite
def quotes(draw: st.DrawFn) -> list[plain.Quote]:
    keys = draw(st.lists(st.tuples(st.sampled_from(CURRENCIES[1:]), days), max_size=8, unique=True))
    return [
        plain.Quote("ecb", "spot", "EUR", "JPY", START, Decimal(160)),
        *(
            plain.Quote("ecb", "spot", "EUR", currency, on, draw(rates))
            for currency, on in keys
            if (currency, on) != ("JPY", START)
        ),
    ]


def table(some: list[plain.Quote]) -> pl.DataFrame:
    return frame(
        fx.FX_RATES,
        *((q.source, q.purpose, q.base, q.currency, q.published_on, int(q.rate * fx.ONE)) for q in some),
    )


@few
@given(st.lists(st.tuples(money(), st.sampled_from(CURRENCIES), days), max_size=6), quotes())
def test_conversion_is_the_same_in_both_engines(
    asked: list[tuple[tuple[Decimal, str], str, date]], some: list[plain.Quote]
) -> None:
    rows = [
        (f"k{n}", to_units(amount, currency), currency, target, on, "ecb", "spot")
        for n, ((amount, currency), target, on) in enumerate(asked)
    ]
    found = fx.convert(frame(fx.CONVERSIONS, *rows), table(some))
    assert found["key"].to_list() == [row[0] for row in rows]
    for seen, ((amount, currency), target, on) in zip(found.iter_rows(named=True), asked, strict=True):
        expected = plain.convert(amount, currency, target, on, some, "ecb", "spot")
        assert seen["converted"] == (None if expected is None else to_units(expected, target))
        assert (seen["hold_code"] is None) == (expected is not None)


def test_a_day_without_a_rate_takes_the_previous_day_of_publication_and_never_a_later_one() -> None:
    some = [plain.Quote("ecb", "spot", "EUR", "USD", day, rate) for day, rate in (
        (date(2026, 3, 6), Decimal("1.1")), (date(2026, 3, 9), Decimal("1.2")),
    )]  # fmt: skip
    asked = [
        (f"{on:%d}", to_units(Decimal(100), "EUR"), "EUR", "USD", on, "ecb", "spot")
        for on in (date(2026, 3, 5), date(2026, 3, 8), date(2026, 3, 9))
    ]
    found = fx.convert(frame(fx.CONVERSIONS, *asked), table(some))
    assert found.select("converted", "published_on", "hold_code").rows() == [
        (None, None, "RATE_MISSING"),
        (to_units(Decimal(110), "USD"), date(2026, 3, 6), None),
        (to_units(Decimal(120), "USD"), date(2026, 3, 9), None),
    ]


def test_the_purpose_is_part_of_the_key() -> None:
    some = [plain.Quote("ecb", purpose, "EUR", "USD", START, rate) for purpose, rate in (
        ("tax", Decimal("1.1")), ("oss", Decimal("1.3")),
    )]  # fmt: skip
    asked = [(p, to_units(Decimal(10), "USD"), "USD", "EUR", START, "ecb", p) for p in ("tax", "oss", "spot")]
    found = fx.convert(frame(fx.CONVERSIONS, *asked), table(some))["converted"].to_list()
    assert found == [to_units(Decimal("9.09"), "EUR"), to_units(Decimal("7.69"), "EUR"), None]


def test_a_source_with_two_bases_is_refused() -> None:
    some = [plain.Quote("bank", "spot", base, "GBP", START, Decimal(1)) for base in ("EUR", "USD")]
    with pytest.raises(ValueError, match="one base"):
        fx.convert(fx.CONVERSIONS.empty(), table(some))


@few
@given(
    st.lists(st.tuples(st.integers(1, 1_000_000), st.integers(0, 1_000_000)), min_size=1, max_size=5),
    st.integers(1, 10_000_000),
)
def test_payments_settle_what_was_booked_to_the_cent(payments: list[tuple[int, int]], booked: int) -> None:
    paid = [(Decimal(amount) / 100, Decimal(cash) / 100) for amount, cash in payments]
    invoice, home = sum(amount for amount, _ in paid), Decimal(booked) / 100
    rows = [
        ("I", n, to_units(Decimal(invoice), "USD"), to_units(home, "EUR"), to_units(a, "USD"), to_units(c, "EUR"))
        for n, (a, c) in enumerate(paid)
    ]
    found = fx.realise(frame(fx.PAYMENTS_ABROAD, *rows))
    seen = [
        (from_units(settled, "EUR"), from_units(gain, "EUR"))
        for settled, gain in found.select("settled", "realised").iter_rows()
    ]
    assert seen == plain.realise(Decimal(invoice), home, paid, "EUR")
    assert sum(settled for settled, _ in seen) == home
    assert sum(gain for _, gain in seen) == sum(cash for _, cash in paid) - home


def test_a_receivable_is_revalued_and_an_advance_keeps_its_rate() -> None:
    eur, usd = to_units(Decimal("45454.55"), "EUR"), to_units(Decimal(50000), "USD")
    items = [(name, monetary, usd, "USD", "EUR", eur, to_units(Decimal(100), "EUR") if monetary else 0)
             for name, monetary in (("advance", False), ("invoice", True))]  # fmt: skip
    asked = [(name, usd, "USD", "EUR", START, "ecb", "spot") for name in ("advance", "invoice")]
    values = fx.convert(
        frame(fx.CONVERSIONS, *asked), table([plain.Quote("ecb", "spot", "EUR", "USD", START, Decimal("1.06"))])
    )
    found = fx.revalue(frame(fx.RECEIVABLES_ABROAD, *items), values).select("document", "unrealised", "to_post").rows()
    gain, new = plain.revalue(Decimal("47169.81"), Decimal("45454.55"), True, Decimal(100))
    assert found == [("advance", 0, 0), ("invoice", to_units(gain, "EUR"), to_units(new, "EUR"))]
    assert gain == Decimal("1715.26")
    assert plain.revalue(Decimal("47169.81"), Decimal("45454.55"), False, Decimal(0)) == (0, 0)
