"""Faults are seeded, moderate, and never stop anything for good."""

import pytest

from trueup.sandbox.chaos import LONGEST_RUN, RATES, Chaos


def test_the_same_seed_gives_the_same_faults():
    def run(seed: int) -> list[object]:
        chaos = Chaos(seed, ["all"])
        return [chaos.fate("acme", "PUT", f"/{n % 7}") for n in range(300)]

    assert run(5) == run(5)
    assert run(5) != run(6)


def test_without_profiles_nothing_happens():
    chaos = Chaos(1)
    assert {chaos.fate("acme", "POST", "/x") for _ in range(100)} == {type(chaos.fate("acme", "GET", "/y"))()}
    assert [chaos.deliveries("acme", str(n)) for n in range(50)] == [1] * 50
    assert chaos.order("acme", [("1", "a"), ("2", "b")]) == [("1", "a"), ("2", "b")]


@pytest.mark.parametrize("fault", ["429", "5xx", "unk"])
def test_a_fault_befalls_a_moderate_share_of_writes(fault):
    chaos = Chaos(3, [fault])
    hits = sum(chaos.fate("acme", "POST", f"/{n}").fault == fault for n in range(4000))
    assert 0.03 < hits / 4000 < 0.08


def test_reads_are_never_cut_off():
    chaos = Chaos(3, ["unk"])
    assert not any(chaos.fate("acme", "GET", f"/{n}").fault for n in range(2000))


def test_sign_in_rarely_meets_a_fault_and_is_never_cut_off():
    chaos = Chaos(3, ["429", "unk"])
    faults = [chaos.fate("acme", "POST", f"/{n}", token=True).fault for n in range(4000)]
    assert "unk" not in faults
    assert faults.count("429") < 60


def test_no_path_meets_more_than_three_faults_in_a_row(monkeypatch):
    monkeypatch.setitem(RATES, "429", 0.9)
    chaos = Chaos(9, ["429"])
    longest = row = 0
    for _ in range(500):
        row = row + 1 if chaos.fate("acme", "POST", "/same").fault else 0
        longest = max(longest, row)
    assert longest == LONGEST_RUN


def test_webhooks_are_lost_and_repeated():
    chaos = Chaos(4, ["dup", "drop"])
    times = [chaos.deliveries("acme", f"{n:09d}") for n in range(3000)]
    assert set(times) == {0, 1, 2, 3, 4, 5}
    assert 0.03 < times.count(0) / 3000 < 0.08
    assert times == [Chaos(4, ["dup", "drop"]).deliveries("acme", f"{n:09d}") for n in range(3000)]


def test_webhooks_change_places_but_none_is_lost_or_carried_far():
    waiting = [(f"{n:09d}", n) for n in range(200)]
    gone = [number for _, number in Chaos(4, ["ooo"]).order("acme", waiting)]
    assert sorted(gone) == list(range(200))
    assert gone != list(range(200))
    assert max(abs(place - number) for place, number in enumerate(gone)) <= 6


def test_an_unknown_fault_is_refused():
    with pytest.raises(ValueError, match="no fault named earthquake"):
        Chaos(1, ["earthquake"])


def test_a_forced_fault_happens_once_and_to_nobody_else():
    chaos = Chaos(1)
    chaos.force("acme", "429")
    chaos.force("acme", "unk")
    assert chaos.fate("other", "GET", "/x").fault == ""
    assert chaos.fate("acme", "POST", "/token", token=True).fault == ""
    assert [chaos.fate("acme", "GET", "/x").fault for _ in range(3)] == ["429", "", ""]
    assert [chaos.fate("acme", "POST", "/x").fault for _ in range(2)] == ["unk", ""]


def test_a_forced_fault_can_be_taken_back():
    chaos = Chaos(1)
    chaos.force("acme", "500", writes=True)
    chaos.relent("acme")
    assert chaos.fate("acme", "POST", "/x").fault == ""
    with pytest.raises(ValueError, match="cannot be forced"):
        chaos.force("acme", "dup")


def test_all_faults_bring_no_older_values_back_unless_they_are_asked_for_by_name():
    assert "late" not in Chaos(1, ["all"]).profiles
    chaos = Chaos(5, ["late", "after", "before"])
    assert chaos.profiles == {"late", "unk", "before"}
    fates = [chaos.fate("acme", "POST", f"/{number}") for number in range(400)]
    assert {fate.fault for fate in fates} == {"", "late", "unk", "before"}
    assert all((fate.late_seconds > 0) is (fate.fault == "late") for fate in fates)
    reads = [chaos.fate("acme", "GET", f"/{number}") for number in range(400)]
    assert {fate.fault for fate in reads} == {""}
