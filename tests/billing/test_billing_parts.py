"""A run in parts: every contract is in exactly one, and parts of any two runs share a slot when they share a contract."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueup.billing.parts import POWERS, SLOTS, Part, parts_for, slot


def test_a_small_run_is_one_part_and_a_large_one_the_fewest_that_are_small_enough():
    assert parts_for(0, 10) == parts_for(10, 10) == (Part(),)
    assert parts_for(11, 10) == (Part(0, 2), Part(1, 2))
    assert len(tuple(parts_for(50, 10))) == 8
    assert len(tuple(parts_for(10**9, 1))) == SLOTS


@pytest.mark.parametrize(("number", "of"), [(1, 1), (-1, 2), (0, 3), (0, 128), (0, 0)])
def test_what_is_no_part_is_refused(number, of):
    with pytest.raises(ValueError, match="no part"):
        Part(number, of)


@given(st.text(min_size=1), st.sampled_from(POWERS), st.sampled_from(POWERS))
def test_a_contract_is_in_one_part_of_every_run_and_its_slot_in_the_same(contract, one, other):
    for of in (one, other):
        mine = [part for number in range(of) if (part := Part(number, of)).has(contract)]
        assert len(mine) == 1
        assert slot(contract) in mine[0].slots
        assert sorted(place for number in range(of) for place in Part(number, of).slots) == list(range(SLOTS))
