"""What is done next, class by class: the table of docs/explanation/idempotency.md, line by line."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from target import Target, facts

from trueup.connectors.sdk import registry
from trueup.connectors.sdk.client import VendorClient
from trueup.connectors.sdk.manifest import Write
from trueup.connectors.sdk.registry import Connector
from trueup.kernel.errors import Broken
from trueup.pipeline import settling
from trueup.store.deliveries import Delivery

ONE = Delivery("k", "erp", "thing", "g", "customer", "create", None, "A", "due", 0, 1, None, None, None)
HOUR = 3600.0


def step(dedupe, state, *, known=False, same_body=True, life=None, **more):
    write = Write(kind="customer", dedupe=dedupe, key_life_hours=life)
    return settling.next_step(
        replace(ONE, state=state, dedupe=dedupe, **more), write, known=known, same_body=same_body
    )  # fmt: skip


@pytest.mark.parametrize(("dedupe", "known", "what"), [
    ("A", False, "send"), ("A", True, "send"), ("C", False, "look"), ("C", True, "send"), ("D", False, "give_up"),
    ("D", True, "give_up"),
])  # fmt: skip
def test_after_silence(dedupe, known, what):
    assert step(dedupe, "unknown", known=known, attempts=1) == what


@pytest.mark.parametrize(("age", "same_body", "what"), [
    (0.0, True, "send"), (0.79 * HOUR, True, "send"), (0.8 * HOUR, True, "look"), (0.0, False, "look"),
])  # fmt: skip
def test_a_key_is_used_for_four_fifths_of_its_life_and_for_one_body(age, same_body, what):
    assert step("B", "unknown", life=1.0, attempts=1, sent_for=age, same_body=same_body) == what


@pytest.mark.parametrize(("dedupe", "attempts", "known", "what"), [
    ("A", 3, False, "send"), ("C", 0, False, "send"), ("C", 1, False, "look_then_send"), ("C", 1, True, "send"),
    ("D", 1, False, "send"),
])  # fmt: skip
def test_what_is_made_a_second_time_is_looked_for_first(dedupe, attempts, known, what):
    assert step(dedupe, "due", attempts=attempts, known=known) == what


def test_a_key_of_a_new_round_knows_nothing_of_what_was_sent_before():
    assert step("B", "due", life=1.0, attempts=0) == "send"
    assert step("B", "due", life=1.0, attempts=2, round=2) == "look_then_send"


@pytest.mark.parametrize(("dedupe", "known", "what"), [("A", False, "send"), ("B", False, "look"), ("B", True, "send")])
def test_what_was_refused_after_silence_is_looked_for_and_not_sent_again(dedupe, known, what):
    assert step(dedupe, "unknown", known=known, life=1.0, attempts=2, sent_for=5.0, code="row_locked") == what


@pytest.mark.parametrize(("dedupe", "silent_for", "last"), [
    ("A", 0.0, True), ("B", 59.0, False), ("B", 60.0, True), ("C", 59.0, False), ("C", 60.0, True),
])  # fmt: skip
def test_a_refusal_ends_what_met_silence_when_nothing_may_land_any_more(dedupe, silent_for, last):
    write = Write(kind="customer", dedupe=dedupe, key_life_hours=1.0, late_commit_seconds=60)
    assert settling.refusal_is_last(replace(ONE, state="unknown", silent_for=silent_for), write) is last


def test_a_job_is_asked_after_and_one_whose_time_is_over_is_looked_for():
    assert step("A", "processing", job="7") == "ask"
    assert step("A", "unknown", job="7", attempts=1) == "look"
    write = Write(kind="customer", dedupe="A", mode="async", job_minutes=1, poll_seconds=(2, 9))
    questions = [settling.next_question(replace(ONE, looks=looks, accepted_for=5.0), write) for looks in range(3)]
    assert questions == [2, 9, 9]
    assert settling.next_question(replace(ONE, accepted_for=60.0), write) is None


def test_a_look_counts_only_when_the_time_for_late_commits_was_over_before_it():
    write = Write(kind="customer", dedupe="C", late_commit_seconds=360, index_lag_seconds=20)
    assert not settling.cooled_down(replace(ONE, silent_for=379.9), write)
    assert settling.cooled_down(replace(ONE, silent_for=380.0), write)
    assert not settling.cooled_down(ONE, write), "without silence there is nothing to wait for"
    assert settling.next_look(replace(ONE, silent_for=377.0, looks=9), write) == pytest.approx(3.0)
    assert settling.next_look(replace(ONE, silent_for=1.0, looks=0), write) == 1.0


@pytest.mark.parametrize("timeout", [1.0, 10.0, 60.0, 300.0])
def test_a_lease_outlives_what_may_still_be_sent(timeout):
    last_send = settling.lease_seconds(timeout) - settling.attempt_seconds(timeout)
    assert last_send + settling.attempt_seconds(timeout) <= settling.lease_seconds(timeout)
    assert last_send > 0
    assert settling.lease_seconds(timeout) >= settling.attempt_seconds(timeout) + settling.MARGIN_SECONDS


def test_every_connector_says_what_a_safe_repetition_needs():
    assert settling.wrong([registry.load(name) for name in registry.folders()]) == []


@pytest.mark.parametrize(("facts_of", "client", "sentence"), [
    (facts("C", late_commit_seconds=None), Target, "say late_commit_seconds and index_lag_seconds"),
    (facts("C"), VendorClient, "its client cannot find what it wrote"),
    (facts("B", key_life_hours=None), Target, "say key_life_hours"),
    (facts("B", key_life_hours=0.03), Target, "that is no class B"),
    (facts("A", mode="async"), Target, "its client cannot ask what became of it"),
    (facts("A", read_back_minutes=1), Target, "read it back later than that"),
])  # fmt: skip
def test_a_house_is_not_built_over_writes_that_cannot_be_repeated_safely(facts_of, client, sentence):
    (said,) = settling.wrong([Connector(facts_of, Path(), client, None, {}, {})])
    assert sentence in said


def test_the_workspace_may_say_that_late_is_later(tmp_path):
    from trueup.entrypoints.bootstrap import patient
    from trueup.settings import SystemSettings

    manifest = registry.load("kantata").manifest
    told = patient(manifest, SystemSettings(connector="kantata", late_commit_seconds=7.0, read_back_minutes=2.0))
    assert told.writes["workspace"].cool_down == 8.0
    assert told.writes["workspace"].read_back_minutes == 2.0
    assert told.writes["external_reference"].read_back_minutes is None, "what is not shown cannot be read back"
    assert patient(manifest, SystemSettings(connector="kantata")) is manifest


def test_a_house_over_an_unsafe_connector_is_refused(tmp_path):
    from trueup.entrypoints import bootstrap
    from trueup.settings import load

    shutil.copytree(Path(__file__).parents[1] / "sandbox" / "connectors" / "acme", tmp_path / "connectors" / "acme")
    file = tmp_path / "connectors" / "acme" / "connector.yaml"
    file.write_text(file.read_text("utf-8").replace(", late_commit_seconds: 360", ""), "utf-8")
    (tmp_path / "trueup.yaml").write_text("company: Acme\npackages: {}\nsystems: {acme: {connector: acme}}\n", "utf-8")
    (tmp_path / "entities").mkdir()
    entity = "code: DE01\nname: Acme GmbH\ncountry: DE\ncurrency: EUR\nsells_to: [DE]\n"
    (tmp_path / "entities" / "DE01.yaml").write_text(entity, "utf-8")
    with pytest.raises(Broken, match="could not be repeated safely: acme: thing is of class C"):
        bootstrap.build(load(tmp_path, {}), None)
