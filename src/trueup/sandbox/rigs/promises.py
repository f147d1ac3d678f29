"""The page of promises: what we promise, what was tried to break it, and what came of it, from the record of the rigs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

FRESH_DAYS = 30
"""A figure that is so much older than the newest one counts as none: the code it was found with is another."""

Results = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Promise:
    """One promise.

    proofs  names of runs in the record, each with what of it speaks for this promise
    """

    code: str
    says: str
    proofs: Sequence[tuple[str, str]]


CRASH = "SIGKILL at {died_at:,} of {lines:,} lines of code of {handler}, {points:,} times"
SIM = "simulation: {seeds:,} seeds, {simulated_hours:,} hours, {acts:,} acts"
RIG = "real processes for {minutes} minutes: {stages} stages of a firm's months, {struck} kills and stops, {acknowledged:,} acknowledged calls"
PROMISES: Sequence[Promise] = (
    Promise(
        "P1",
        "An acknowledged input is never lost.",
        (
            ("crash webhook", CRASH),
            ("crash api", CRASH),
            ("crash poll", CRASH),
            (
                "killdb",
                "the database's first process killed {cycles} times under six writers, {acknowledged:,} acknowledged",
            ),
            ("rig", RIG),
        ),
    ),
    Promise(
        "P2",
        "A business effect happens once at a target, whatever becomes of the answer, the worker or the lease.",
        (
            ("crash deliver_a", CRASH),
            ("crash deliver_b", CRASH),
            ("crash deliver_c", CRASH),
            ("sim", SIM),
            ("rig", RIG),
        ),
    ),
    Promise("P3", "No older value ever stays over a newer one.", (("sim", SIM),)),
    Promise(
        "P4", "Per entity, effects keep the owner's order, and a blocked entity blocks only itself.", (("sim", SIM),)
    ),
    Promise(
        "P5",
        "No committed change is skipped by a reader.",
        (("readers", "eight writers that hold their transactions, {rows:,} rows, {skipped} skipped"),),
    ),
    Promise("P6", "No circular update: systems come to rest at the owner's value.", (("sim", SIM),)),
    Promise(
        "P7",
        "Nothing disappears silently: received = applied + superseded + ignored by a rule + quarantined + in flight.",
        (("sim", SIM), ("rig", RIG)),
    ),
    Promise("P8", "Waiting is bounded, and overload is shared fairly.", ()),
    Promise("P21", "Upgrade and rollback lose nothing.", ()),
    Promise(
        "P22",
        "Time lies harmlessly: a clock that jumps doubles and loses nothing.",
        (("sim", SIM + ", {jumps} clock jumps"),),
    ),
)


def page(results: Results) -> str:
    """Return the page as Markdown; the same record gives the same page."""
    lines = [
        "# Promises",
        "",
        "<!-- Written by `trueup promises` from tests/chaos/results.json; run a rig with --record to renew a figure. -->",
        "",
        "What we promise, and what was tried to break it. Every figure was measured, by the command and at the commit that",
        "stand beside it. A promise without a fresh figure is called unproved. With n trials and no failure, the chance of a",
        "failure is below 3/n (at 95 %).",
        "",
        "| | promise | trials | failures | planted bugs caught | |",
        "| --- | --- | --- | --- | --- | --- |",
        *(_row(promise, results) for promise in PROMISES),
        "",
        *_bugs(results),
        *_met(results),
        "## How to repeat it",
        "",
        "| command | what it does |",
        "| --- | --- |",
        "| `trueup sim --seeds 3000` | simulated runs under a clock we turn; one seed is one run, exactly |",
        "| `trueup crash` | SIGKILL at every line of every acknowledging handler and of the delivery step, the first and the last time it runs |",
        "| `trueup killdb` | the database's first process killed under six writers |",
        "| `trueup readers` | writers that commit out of order, and a reader behind them |",
        "| `trueup rig --minutes 20` | real processes, a bad network, workers and database killed and stopped |",
        "| `trueup mutants` | planted bugs, each with the layers switched off that would hide it |",
        "",
    ]
    return "\n".join(lines)


def fresh(results: Results, name: str) -> Mapping[str, Any] | None:
    """Return a run's figures, unless they are missing or much older than the newest."""
    found = results.get(name)
    if found is None:
        return None
    newest = max(date.fromisoformat(one["date"]) for one in results.values())
    return found if (newest - date.fromisoformat(found["date"])).days <= FRESH_DAYS else None


def _row(promise: Promise, results: Results) -> str:
    proofs = [(name, text, found) for name, text in promise.proofs if (found := fresh(results, name)) is not None]
    caught, planted = _caught(promise.code, results)
    bugs = f"{caught} of {planted}" if planted else "none planted"
    if not proofs:
        return f"| {promise.code} | {promise.says} | | | {bugs} | **unproved** |"
    trials = "; ".join(text.format(**_flat(found)) for _, text, found in proofs)
    missing = [name for name, _ in promise.proofs if fresh(results, name) is None]
    if missing:
        trials += f"; unproved: {', '.join(missing)}"
    failures = sum(int(found["failures"]) for _, _, found in proofs)
    state = "holds" if not failures else "**broken**"
    where = ", ".join(sorted({f"{found['date']} at {found['commit']}" for _, _, found in proofs}))
    return f"| {promise.code} | {promise.says} | {trials} | {failures} | {bugs} | {state}: {where} |"


def _flat(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's figures with the sums that the texts name."""
    struck = sum(times for name, times in found.get("killed", {}).items() if name != "nothing")
    return {**found, "struck": struck, "jumps": found.get("met", {}).get("clock jump", 0)}


def _caught(code: str, results: Results) -> tuple[int, int]:
    found = fresh(results, "mutants")
    mine = [one for one in found["table"] if one["promise"] == code] if found else []
    return sum(one["verdict"] == "caught" for one in mine), len(mine)


def _bugs(results: Results) -> list[str]:
    """Return the kill table: what was planted and what was noticed, and what was not planted and why."""
    found = fresh(results, "mutants")
    if not found:
        return []
    rows = [
        f"| {one['promise']} | {one['kills']} | {one['verdict']} | {one['seconds']:.0f} s |" for one in found["table"]
    ]
    return [
        "## Planted bugs",
        "",
        f"Each is planted into a copy of the code, with the layers switched off that would hide it: {found['caught']} of "
        f"{found['planted']} were noticed ({found['date']} at {found['commit']}).",
        "",
        "| promise | planted | verdict | after |",
        "| --- | --- | --- | --- |",
        *rows,
        "",
        "Not planted:",
        "",
        *(f"- {one}" for one in found["unplanted"]),
        "",
    ]


def _met(results: Results) -> list[str]:
    """Return what the simulation met: a fault that never happened was not survived."""
    found = fresh(results, "sim")
    if not found:
        return []
    met = ", ".join(f"{name} {times:,}" for name, times in found["met"].items() if not name.startswith("act "))
    acts = ", ".join(
        f"{name[4:].replace('_', ' ')} {times:,}" for name, times in found["met"].items() if name.startswith("act ")
    )
    return ["## What the simulation met", "", f"Faults and deaths: {met}.", "", f"What people did: {acts}.", ""]
