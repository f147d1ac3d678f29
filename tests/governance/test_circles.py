"""When writes that come back are a circle, and when they are an owner at work."""

import doctest
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from trueup.governance import circles
from trueup.governance.circles import Heard, Written, sentence, turns

NOW = datetime(2026, 8, 3, tzinfo=UTC)


def at(second):
    return NOW + timedelta(seconds=second)


def writes(*seconds, heals=()):
    return [Written(str(second), at(second), second in heals) for second in seconds]


def said(second, system, verdict, before, value, **more):
    return Heard(second, at(second), system, "hours", verdict, before, value, f"{system}.Story -> task", **more)


def count(written, heard):
    return len(turns(written, heard, "psa", {"hours"}))


def test_f10_the_examples_hold():
    assert doctest.testmod(circles).failed == 0


def test_f10_a_write_that_came_back_changed_is_a_turn_and_a_clean_echo_before_it_makes_it_an_edit():
    changed = said(2, "psa", "accept", "2", "3")
    assert count(writes(0, 10), [changed]) == 1
    assert count(writes(0, 10), [said(1, "psa", "agree", None, None), changed]) == 0


def test_f10_an_older_value_that_stands_over_the_newest_again_and_again_is_a_circle_too():
    assert count(writes(0, 10, 20, 30, heals={10, 20, 30}), []) == 3
    assert count(writes(0, 10, 20, 30, heals={10, 30}), []) == 2, "another write in between ends nothing"


def test_f10_a_field_the_write_does_not_tell_has_no_part_in_it():
    assert turns(writes(0, 10), [said(2, "psa", "accept", "2", "3")], "psa", {"name"}) == []


def test_f10_a_word_from_before_the_write_is_no_answer_to_it():
    assert count(writes(5, 10), [said(2, "psa", "accept", "2", "3")]) == 0


def test_f10_a_number_written_in_another_way_is_no_change():
    assert count(writes(0, 10), [said(2, "psa", "accept", "2", "2.00")]) == 0


def test_f10_the_sentence_names_fields_that_not_everybody_may_see_without_their_values():
    found = turns(writes(0, 10), [said(2, "psa", "accept", "2", "3")], "psa", {"hours"})
    told = sentence(found, "task -> psa.story", "psa", {"hours"}, 24)
    assert "hours: its values are hidden here" in told
    assert "→" not in told


@given(st.lists(st.sampled_from(["answer", "edit", "person", "nothing"]), max_size=12))
def test_f10_turns_are_counted_from_the_last_new_word_on(acts):
    heard, expected = [], 0
    for number, act in enumerate(acts):
        second = number * 10
        if act == "answer":
            heard.append(said(second + 2, "psa", "accept", str(number), str(number + 1)))
            expected += 1
        elif act == "edit":
            heard.append(said(second + 1, "psa", "agree", None, None))
            heard.append(said(second + 2, "psa", "accept", str(number), str(number + 1)))
            expected = 0
        elif act == "person":
            heard.append(said(second + 2, "", "accept", str(number), str(number + 1), by_person=True))
            expected = 0
    assert count(writes(*range(0, 10 * len(acts) + 1, 10)), heard) == expected
