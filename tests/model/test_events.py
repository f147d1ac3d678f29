"""Business facts: permanent names, CloudEvents outside."""

import doctest
import re

import pytest
from pydantic import ValidationError

from trueup.model import events
from trueup.model.events import CATALOGUE, Fact, cloud_event, type_name


def test_the_examples_in_the_manual_hold():
    assert doctest.testmod(events).failed == 0


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_every_event_is_named_noun_dot_past_and_explained(name):
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*\.([a-z]+ed|won|lost|paid|found)", name)
    assert CATALOGUE[name].endswith(".")


def test_an_event_nobody_knows_is_refused():
    with pytest.raises(ValueError, match="no event named"):
        type_name("invoice.exploded")


def test_an_event_is_a_cloud_event():
    event = cloud_event("invoice.posted", 17, "inv_x", "2026-08-31T07:00:00+00:00", {"code": "D07"})
    assert event == {
        "specversion": "1.0",
        "id": "17",
        "type": "org.trueup.invoice.posted.v1",
        "source": "trueup",
        "subject": "inv_x",
        "time": "2026-08-31T07:00:00+00:00",
        "datacontenttype": "application/json",
        "data": {"code": "D07"},
    }


def test_the_data_of_an_event_is_small_and_known():
    assert Fact(code="D07", count=3).model_dump(exclude_none=True) == {"code": "D07", "count": 3}
    with pytest.raises(ValidationError):
        Fact(body={"everything": 1})
