"""Planted bugs: each can still be planted, and a sample is noticed; `trueup mutants` plants them all."""

import pytest

from trueup.sandbox.rigs import mutants

LEDGER = mutants.load()
HERE = [one for one in LEDGER.mutants if one.fits()]


@pytest.mark.parametrize("mutant", HERE, ids=lambda one: one.id)
def test_a_bug_can_still_be_planted_where_it_belongs(mutant, tmp_path):
    assert mutants.planted(mutant, tmp_path / "code") == ""


@pytest.mark.parametrize("mutant", [one for one in HERE if one.sample], ids=lambda one: one.id)
def test_a_planted_bug_is_noticed(mutant, tmp_path):
    tried = mutants.tried(mutant, tmp_path / "code")
    assert (tried.verdict, tried.said) == ("caught", tried.said)


def test_every_promise_about_delivery_has_a_planted_bug_or_a_reason():
    spoken_for = {one.promise for one in LEDGER.mutants} | {one.promise for one in LEDGER.unplanted}
    assert spoken_for >= {f"P{number}" for number in range(1, 9)}


def test_a_bug_whose_place_is_gone_is_stale_and_not_caught(tmp_path):
    change = mutants.Change.model_validate({"in": "kernel/money.py", "find": "no such text", "put": ""})
    stale = mutants.Mutant(id="gone", promise="P1", kills="nothing", rig="version", plant=[change])
    assert mutants.tried(stale, tmp_path / "code").verdict == "stale"
