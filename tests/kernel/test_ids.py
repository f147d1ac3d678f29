"""Identifiers: the same key always gives the same one, another key another one, and vendors accept them."""

import doctest
import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from trueup.kernel import ids
from trueup.kernel.ids import KINDS, PREFIXES, derive, kind_of
from trueup.model.kinds import KINDS as OBJECTS

PARTS = st.lists(st.text(max_size=12), min_size=1, max_size=3).map(tuple)


def test_the_examples_in_the_manual_hold():
    assert doctest.testmod(ids).failed == 0


def test_every_prefix_belongs_to_one_kind():
    assert len(KINDS) == len(PREFIXES)
    assert all(re.fullmatch("[a-z]{3}", prefix) for prefix in KINDS)


def test_every_kind_of_object_has_a_prefix():
    assert set(OBJECTS) <= set(PREFIXES)


def test_an_identifier_stays_what_it_was():
    assert derive("project", "D07-US01") == "prj_1ymvfmff53an0tfj3a4mt3sgg6"


@given(st.sampled_from(sorted(PREFIXES)), PARTS)
def test_every_vendor_accepts_an_identifier_and_it_names_its_kind(kind, key):
    gid = derive(kind, *key)
    assert re.fullmatch(r"[a-z]{3}_[0-9a-z]{26}", gid)
    assert kind_of(gid) == kind
    assert derive(kind, *key) == gid


@given(PARTS, PARTS)
def test_another_key_gives_another_identifier(one, other):
    assume(one != other)
    assert derive("task", *one) != derive("task", *other)


def test_a_slash_inside_a_part_is_not_a_border_between_parts():
    assert derive("task", "D07/US01", "Plan") != derive("task", "D07", "US01/Plan")
    assert derive("task", "D07~1US01") != derive("task", "D07/US01")


@given(PARTS, st.sampled_from(sorted(PREFIXES)), st.sampled_from(sorted(PREFIXES)))
def test_another_kind_gives_another_identifier(key, one, other):
    assume(one != other)
    assert derive(one, *key).partition("_")[2] != derive(other, *key).partition("_")[2]


@pytest.mark.parametrize(
    "text",
    ["", "prj", "prj_", "xyz_" + "0" * 26, "prj_" + "0" * 25, "prj_" + "0" * 27, "prj_" + "/" * 26, "prj_" + "É" * 26],
)
def test_what_is_no_identifier_of_ours_belongs_to_no_kind(text):
    assert kind_of(text) is None
