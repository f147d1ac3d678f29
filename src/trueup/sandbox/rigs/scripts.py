"""Draws what happens in a simulated run, and finds the shortest history that still breaks a promise."""

import random
from collections.abc import Callable, Sequence

from trueup.sandbox.rigs.world import BOOKS, FAULTS, INTENSITY, WEBHOOKS, Act, Knobs

ACTS: dict[str, int] = {
    "worker": 5, "account": 6, "time": 10, "approve": 3, "reapprove": 2, "hostile": 1, "delete": 1, "restore": 1, "merge": 1,
    "human_edit": 1, "close_period": 1, "drift": 1, "outage": 1, "clock_jump": 1, "die": 2, "resend": 1, "replay": 1,
    "wait": 10,
}  # fmt: skip
"""Act -> how often it is drawn, relative to the others."""

LONGEST = 45
MOST_TRIES = 120


def draw(seed: int) -> tuple[list[Act], Knobs]:
    """Return the script and the roughness of a seed: some runs are quiet in most respects, so that rare pairs show."""
    dice = random.Random(f"script {seed}")
    faults = {name: dice.choice(("none", "none", *INTENSITY)) for name in (*FAULTS, *WEBHOOKS, "commit unknown")}
    books = tuple(sorted(dice.sample(sorted(BOOKS), dice.choice((1, 2)))))
    crashes = dice.choice((0.0, 0.0, 0.002, 0.01))
    names = dice.choices(list(ACTS), list(ACTS.values()), k=dice.randint(8, LONGEST))
    return [(name, dice.randrange(1000)) for name in names], Knobs(faults, books, crashes)


def shortest(script: Sequence[Act], fails: Callable[[Sequence[Act]], bool]) -> list[Act]:
    """Return a history as short as it gets that still fails: parts are left out as long as that changes nothing.

    fails  plays a script; True when it breaks a promise

    >>> shortest([("a", 1), ("b", 2), ("c", 3), ("b", 4)], lambda script: ("b", 4) in script)
    [('b', 4)]
    """
    kept = list(script)
    tries = 0
    size = max(len(kept) // 2, 1)
    while size:
        at = 0
        while at < len(kept) and tries < MOST_TRIES:
            without = kept[:at] + kept[at + size :]
            tries += 1
            if fails(without):
                kept = without
            else:
                at += size
        size = size // 2
    return kept
