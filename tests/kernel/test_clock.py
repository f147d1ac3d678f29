"""Instants have a zone and are kept in UTC."""

import contextlib
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueup.kernel.clock import now, parse_instant, today

AT = datetime(2026, 8, 31, 7, 30, tzinfo=UTC)
ZONES = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@pytest.mark.parametrize(
    "text",
    [
        "2026-08-31T07:30:00Z",
        "2026-08-31T07:30:00.000+0000",
        "2026-08-31T09:30:00+02:00",
        "2026-08-31T00:30:00-0700",
        "2026-08-31 07:30:00-00:00",
        "2026-08-31T13:00:00+0530",
    ],
)
def test_the_forms_vendors_write_are_one_instant(text):
    assert parse_instant(text) == AT
    assert parse_instant(text).utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-08-31",
        "2026-08-31T07:30:00",
        "2026-08-31T07:30:60Z",
        "2026-08-31T24:30:00Z",
        "2026-02-30T00:00:00Z",
        "2026-08-31T07:30:00+25:00",
        "10000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "1788134400",
        "infinity",
        "31.08.2026 07:30",
    ],
)
def test_a_time_without_zone_or_sense_is_no_instant(text):
    with pytest.raises(ValueError):
        parse_instant(text)


@given(st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31), timezones=ZONES))
def test_what_was_written_is_read_again(instant):
    assert parse_instant(instant.isoformat()) == instant


@given(st.text(max_size=30))
def test_any_other_text_is_refused_in_one_way(text):
    with contextlib.suppress(ValueError):
        assert parse_instant(text).tzinfo is UTC


def test_now_is_in_utc_and_today_is_its_day():
    before = now()
    day = today()
    assert before.tzinfo is UTC
    assert before.date() <= day <= now().date()
