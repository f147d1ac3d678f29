"""Deal to cash in one command: five systems, three months, and at the end nothing is missing, wrong or there twice.

The command's own figures are held against the oracle, which computes them from the firm's facts and shares no code
with the hub.
"""

from decimal import Decimal

import pytest

from trueup.sandbox.oracle import expected
from trueup.sandbox.world import firm

pytestmark = pytest.mark.scenario

FAULTS = "dup,ooo,drop,unk,429,5xx"
KEYS = {
    "systems", "opportunities_won", "projects", "time_entries", "expenses", "invoices", "billed", "held", "payments",
    "recognised", "deferred", "unbilled", "journals", "journals_balanced", "tie_out", "duplicate_effects", "duplicates",
    "oracle_equal", "differences", "seconds",
}  # fmt: skip
FOUND_AS = {
    "amount": "net: we hold",
    "missing": "no longer has a time_entry that was billed",
    "status": "status: we hold",
}


@pytest.fixture(
    scope="module",
    params=[("seed 1", 1, ""), ("seed 7", 7, ""), ("seed 1, with every fault of the wire", 1, FAULTS)],
    ids=lambda param: param[0],
)
def run(request, firm_in):
    """One run of the command, and what the oracle says of its firm."""
    _, seed, faults = request.param
    truth = expected(firm(seed))
    if seed == 1 and not faults:
        return request.getfixturevalue("undisturbed"), truth
    options = ("--seed", str(seed), *(("--faults", faults) if faults else ()))
    made = firm_in("disturbed" if faults else f"seed-{seed}", *options)
    try:
        return made.run(), truth
    finally:
        made.close()


@pytest.fixture
def figures(run):
    """What the command printed."""
    return run[0].figures


@pytest.fixture
def truth(run):
    """What the oracle says."""
    return run[1]


def last(truth, what):
    """Return a position of the last month, for each currency."""
    currencies = truth["books"]["revenue"]["currencies"]
    return {currency: months[max(months)][what] for currency, months in currencies.items()}


def test_the_command_succeeds_and_gives_every_figure(run):
    finished, _ = run
    assert finished.code == 0, finished.figures["differences"]
    assert set(finished.figures) == KEYS
    assert finished.figures["systems"] == 5
    assert 0 < finished.figures["seconds"] <= finished.seconds


def test_every_deal_project_hour_expense_and_invoice_is_counted_once(figures, truth):
    names = ("opportunities_won", "projects", "time_entries", "expenses", "invoices")
    assert {name: figures[name] for name in names} == truth["books"]["counts"]
    assert figures["projects"] == 25
    assert figures["opportunities_won"] == 26
    assert figures["time_entries"] > 8_500
    assert figures["expenses"] > 500


def test_billed_recognised_deferred_and_unbilled_are_the_oracles_to_the_cent(figures, truth):
    assert figures["billed"] == last(truth, "billed_to_date")
    assert figures["recognised"] == last(truth, "recognised_to_date")
    assert figures["deferred"] == last(truth, "deferred")
    assert figures["unbilled"] == last(truth, "unbilled")
    for currency, billed in figures["billed"].items():
        difference = Decimal(figures["recognised"][currency]) - Decimal(billed)
        assert difference == Decimal(figures["unbilled"][currency]) - Decimal(figures["deferred"][currency])


def test_what_may_not_be_billed_is_held_with_count_hours_and_amount(figures, truth):
    assert figures["held"] == truth["books"]["held"]
    assert {"RATE_MISSING", "APPROVAL_MISSING", "RECEIPT_MISSING", "TAX_UNDETERMINED"} <= set(figures["held"])


def test_every_payment_arrives(figures, truth):
    assert figures["payments"] == truth["books"]["payments"]["currencies"]
    assert sum(one["count"] for one in figures["payments"].values()) == truth["books"]["payments"]["count"] > 0


def test_every_journal_is_there_and_balances(figures, truth):
    assert figures["journals"] == len(truth["books"]["journals"])
    assert figures["journals_balanced"] is True


def test_the_tie_out_finds_the_planted_changes_and_nothing_else(figures, truth):
    tied = figures["tie_out"]
    assert tied["compared"] > figures["time_entries"] + figures["invoices"]
    assert tied["breaks"] == len(truth["planted"]) == 3
    assert tied["unplanned"] == []
    for planted in truth["planted"]:
        sentence = tied["planted"][f"{planted['system']} {planted['object']} {planted['key']}: {planted['kind']}"]
        assert FOUND_AS[planted["kind"]] in sentence
        assert planted["kind"] == "missing" or sentence.startswith(f"{planted['key']}: ")


def test_nothing_happened_twice_and_all_systems_hold_what_the_oracle_says(figures):
    assert figures["duplicate_effects"] == 0, figures["duplicates"]
    assert figures["oracle_equal"] is True, figures["differences"]
    assert figures["differences"] == []
