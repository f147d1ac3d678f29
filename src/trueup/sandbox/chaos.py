"""Faults with a seed: what real networks and vendors do to messages, the same way each time.

Every decision depends only on the seed and on what is counted (the number of a request in its system, the number
of a webhook), so that a run can be repeated and a failure looked at again.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Final, TypeVar

RATES: Final = {
    "dup": 0.08,
    "ooo": 0.30,
    "drop": 0.05,
    "unk": 0.05,
    "429": 0.05,
    "5xx": 0.05,
    "slow": 0.06,
    "late": 0.05,
    "before": 0.05,
}
"""Fault -> share of the webhooks or requests it befalls.

dup   a webhook is delivered two to five times
ooo   a webhook waits until up to five later ones have gone first
drop  a webhook is never sent
unk   a write is committed, then the connection breaks before the answer is through
429   the vendor asks to wait, nothing happens
5xx   the vendor is down, nothing happens
slow  the answer takes 50 to 300 ms longer
late  the connection breaks, and the write is committed up to two seconds after that
before  the connection breaks before anything happens, and nothing does

`after` is another word for `unk`.
"""

BY_NAME: Final = frozenset({"late", "before"})
"""Faults that `all` does not stand for: late writes bring older values back, until they are read back and healed."""

LATEST_SECONDS: Final = 2.0
"""A late write comes this long after the connection broke, at most."""

SAME: Final = {"after": "unk"}
"""Another name of a fault -> its name in RATES."""

TOKEN_SHARE: Final = 0.1
"""How much rarer faults are when a token is asked for."""

LONGEST_RUN: Final = 3
"""A method and path never meets more faults than this in a row: everything gets through in the end."""

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Fate:
    """What befalls one request.

    slow_seconds  wait before anything happens
    fault         `429`, `5xx`, `unk`, `late`, `before`, `500` (only when forced) or empty
    late_seconds  for `late`: when the write is committed after all
    """

    slow_seconds: float = 0.0
    fault: str = ""
    late_seconds: float = 0.0


class Chaos:
    """The faults of one run; `profiles` may change while it runs."""

    def __init__(self, seed: int, profiles: Iterable[str] = ()) -> None:
        self.seed = seed
        self.profiles: frozenset[str] = frozenset()
        self.use(profiles)
        self._lock = Lock()
        self._counted: dict[str, int] = {}
        self._in_a_row: dict[tuple[str, str, str], int] = {}
        self._forced: dict[str, list[tuple[Fate, bool]]] = {}

    def use(self, profiles: Iterable[str]) -> None:
        """Replace the faults in force.

        profiles  names from RATES; `all` stands for each of them but those of BY_NAME
        Raises    ValueError naming a fault that does not exist.
        """
        wanted = {SAME.get(name, name) for name in profiles}
        if "all" in wanted:
            wanted = (wanted - {"all"}) | (set(RATES) - BY_NAME)
        unknown = sorted(wanted - set(RATES))
        if unknown:
            raise ValueError(f"no fault named {', '.join(unknown)}; there are {', '.join(RATES)} and all")
        self.profiles = frozenset(wanted)

    def force(self, system: str, fault: str, *, writes: bool = False, late_seconds: float = LATEST_SECONDS) -> None:
        """Let a system's next request meet this fault, once and whatever the profiles say; token requests pass.

        fault   `429`, `5xx` (the vendor's way of being down), `500` (a bare server error), `unk` or `after`, `late`, `before`
        writes  wait for a request that is neither GET nor HEAD
        late_seconds  for `late`: when the write is committed after the connection broke
        """
        fault = SAME.get(fault, fault)
        if fault not in ("429", "5xx", "500", "unk", "late", "before"):
            raise ValueError(f"{fault} cannot be forced")
        fate = Fate(fault=fault, late_seconds=late_seconds if fault == "late" else 0.0)
        with self._lock:
            self._forced.setdefault(system, []).append((fate, writes or fault in ("unk", "late", "before")))

    def relent(self, system: str) -> None:
        """Take back forced faults that have not happened."""
        with self._lock:
            self._forced.pop(system, None)

    def fate(self, system: str, method: str, path: str, *, token: bool = False) -> Fate:
        """Say what befalls the next request of a system.

        token  the request asks for a token: faults are rare, and never break the answer
        """
        with self._lock:
            forced = self._forced.get(system, [])
            if forced and not token and not (forced[0][1] and method in ("GET", "HEAD")):
                return forced.pop(0)[0]
            number = self._counted[system] = self._counted.get(system, 0) + 1
            dice = random.Random(f"{self.seed}/request/{system}/{number}")
            throws = {name: dice.random() for name in ("slow", "429", "5xx", "unk")}
            slow_seconds = dice.uniform(0.05, 0.3)
            throws["late"], late_seconds = dice.random(), dice.uniform(0.2, LATEST_SECONDS)
            throws["before"] = dice.random()
            share = TOKEN_SHARE if token else 1.0
            hit = {name for name, throw in throws.items() if name in self.profiles and throw < RATES[name] * share}
            if token or method in ("GET", "HEAD"):
                hit -= {"unk", "late", "before"}
            fault = next((name for name in ("429", "5xx", "unk", "late", "before") if name in hit), "")
            place = (system, method, path)
            if fault and self._in_a_row.get(place, 0) >= LONGEST_RUN:
                fault = ""
            if fault:
                self._in_a_row[place] = self._in_a_row.get(place, 0) + 1
            else:
                self._in_a_row.pop(place, None)
            return Fate(slow_seconds if "slow" in hit else 0.0, fault, late_seconds if fault == "late" else 0.0)

    def deliveries(self, system: str, webhook: str) -> int:
        """Return how many times a webhook is delivered: 0 (lost), 1, or up to 5.

        webhook  its number in its system
        """
        dice = random.Random(f"{self.seed}/webhook/{system}/{webhook}")
        lost, twice, times = dice.random(), dice.random(), dice.randint(2, 5)
        if "drop" in self.profiles and lost < RATES["drop"]:
            return 0
        return times if "dup" in self.profiles and twice < RATES["dup"] else 1

    def order(self, system: str, waiting: Sequence[tuple[str, Item]]) -> list[tuple[str, Item]]:
        """Return waiting webhooks in the order in which they go out.

        waiting  (number, webhook), oldest first
        """
        if "ooo" not in self.profiles:
            return list(waiting)

        def place(index: int) -> float:
            dice = random.Random(f"{self.seed}/order/{system}/{waiting[index][0]}")
            late, by = dice.random(), dice.randint(1, 5)
            return index + (by + 0.5 if late < RATES["ooo"] else 0)

        return [waiting[index] for index in sorted(range(len(waiting)), key=place)]
