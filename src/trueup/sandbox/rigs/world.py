"""One simulated run: invented vendors, the hub's real pipeline over a real PostgreSQL, and a clock that we turn.

What happens is a script, a list of acts; when it happens, and which call meets which fault, one seed decides. There is
one thread: two workers take turns, and one may work while the other waits in a call. A worker dies by an exception at
any border of a transaction or of a call; what it had leased stays leased, as after SIGKILL.
"""

import hashlib
import heapq
import importlib
import importlib.util
import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from trueup.connectors.sdk.webhook import sign
from trueup.kernel.errors import Busy, Trouble
from trueup.kernel.ids import derive
from trueup.pipeline.deliver import Known, deliver, learn
from trueup.pipeline.house import House, System
from trueup.pipeline.ingest import ingest
from trueup.pipeline.poll import fetch_announced, poll
from trueup.pipeline.receive import Reception, hear
from trueup.sandbox.rigs import clock, oracles
from trueup.sandbox.rigs import house as houses
from trueup.sandbox.rigs.vendor import Client, Fault, Traits, Vendor
from trueup.store import deliveries, inbox
from trueup.store.database import Database, Tx
from trueup.store.steady import Steady

Act = tuple[str, int]
"""What happens, and a number from which its particulars are drawn."""

FAULTS: tuple[Fault, ...] = ("before", "after", "late", "5xx", "429", "200-with-error", "partial", "cut", "slow")
WEBHOOKS = ("duplicate", "reorder", "loss")
INTENSITY = {"none": 0.0, "low": 0.04, "high": 0.25}
LONGEST_CALL = 25.0
"""No client waits longer for an answer: that is a silence, and another fault."""
A_LONG_WAIT = 1000.0
READ_BACK_IS_OVER = 3600.0
PEOPLE = 6
COUNTRIES = ("DE", "FR", "IE", "US")
HOSTILE: tuple[dict[str, Any], ...] = (
    {"name": ""},
    {"name": None},
    {"name": "x" * 3000},
    {"country": "Atlantis"},
    {"name": "a\u0000b"},
    {"country": 7},
)
"""Fields no hub can use; the record's owner corrects them in the end."""
BOOKS = {"books_a": "A", "books_b": "B", "books_c": "C", "books_d": "D"}
LATEST = 400
KEYS_LIVE = 1800


TOLD = (("people", "Worker", "resource", "Person"), ("sales", "Account", "customer", "Client"))


found_by_a_person: Callable[[Tx, str, str], bool] | None = getattr(deliveries, "landed", None)
"""Takes a person's word that a write is there, where the ledger can."""


def _lane(module: str, name: str) -> Callable[..., int] | None:
    """Return a lane of the pipeline, None where the pipeline has none of this name."""
    if importlib.util.find_spec(module) is None:
        return None
    lane: Callable[..., int] = getattr(importlib.import_module(module), name)
    return lane


read_back = _lane("trueup.pipeline.read_back", "read_back")
"""Looks whether the newest value stands; where the hub has it, a target may take any write, in any order."""


class Killed(BaseException):
    """A worker is dead: SIGKILL's meaning in one process. No `except Exception` may catch it."""


@dataclass(frozen=True, slots=True)
class Knobs:
    """How rough a run is: for each fault none, low or high; which targets there are.

    faults   fault -> intensity
    books    names of targets out of BOOKS
    crashes  chance of a death at each border
    """

    faults: dict[str, str] = field(default_factory=dict)
    books: tuple[str, ...] = ("books_a", "books_c")
    crashes: float = 0.0


@dataclass(slots=True)
class Outcome:
    """How a run ended.

    log      hash of everything that happened, in order: the same seed gives the same
    met      fault or event -> how often
    """

    violations: list[str]
    log: str
    met: Counter[str]
    transactions: int
    hours: float


Keep = Callable[[Tx, System, Reception], None]


class Watched(Database):
    """A database whose transactions can be the last thing a worker does."""

    border: Callable[[str], None] = staticmethod(lambda where: None)
    transactions = 0

    @contextmanager
    def transaction(self) -> Iterator[Tx]:
        """Open a transaction; a border lies before it, before its commit and behind it."""
        self.transactions += 1
        self.border("begin")
        with super().transaction() as tx:
            yield tx
            self.border("commit")
        self.border("committed")


class Inline(ThreadPoolExecutor):
    """A pool that does what it is asked at once, in the thread that asks."""

    def map(self, fn: Callable[..., Any], *iterables: Iterable[Any], **_: Any) -> Iterator[Any]:
        """Return the results, each computed here and now."""
        return iter([fn(*one) for one in zip(*iterables, strict=False)])


class World:
    """The vendors, the hub and its two workers, for one seed."""

    def __init__(self, house: House, database: Watched, pool: Inline, seed: int, knobs: Knobs) -> None:
        self.house = house
        self.database = database
        self.pool = pool
        self.knobs = knobs
        self.dice = random.Random(seed)
        self.at = clock.START / clock.SECOND
        self.skew = 0.0
        self.met: Counter[str] = Counter()
        self.log = hashlib.sha256()
        self.calm = False
        self.workers = ["worker-1", "worker-2"]
        self.born = 2
        self.depth = 0
        self.down: dict[str, float] = {}
        self.armed: tuple[str, int] | None = None
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._ticket = 0
        self.spoilt: set[str] = set()
        self.learned: set[str] = set()
        self.edited: set[tuple[str, str]] = set()
        names = [*houses.OWNERS, *knobs.books]
        self.vendors = {name: self._vendor(name) for name in names}
        for name, vendor in self.vendors.items():
            client = house.systems[name].client
            assert isinstance(client, Client)
            client.vendor = vendor
        database.transactions = 0
        database.steady = Steady(lambda: self.at, "rig")
        database.border = self._border
        with self._quiet(), database.transaction() as tx:
            clock.wipe(tx)
            clock.turn(tx, int(self.at * clock.SECOND))
            houses.open_up(tx, house)

    def _vendor(self, name: str) -> Vendor:
        return Vendor(
            name, _traits(self.house.systems[name]), lambda: self.at, self._fault, self._announce, self._do_at
        )

    # --- chance --------------------------------------------------------------------------------------------------

    def _hits(self, fault: str) -> bool:
        intensity = INTENSITY[self.knobs.faults.get(fault, "none")]
        return not self.calm and intensity > 0 and self.dice.random() < intensity

    def _fault(self, vendor: Vendor, writes: bool, object_name: str, key: str) -> Fault:
        """Say what befalls a call; a worker may die in it, and the other one may work while it lasts."""
        self._note("call", vendor.name, object_name, key, writes)
        self._border("call")
        if self.down.get(vendor.name, 0) > self.at:
            self.met["outage"] += 1
            return "before"
        for fault in FAULTS:
            if self._hits(fault) and self._fits(fault, vendor, writes):
                self.met[fault] += 1
                if fault == "late":
                    vendor.late_by = self.dice.uniform(31, vendor.traits.late_seconds)
                if fault != "slow":
                    return fault
                self._while_it_lasts(self.dice.uniform(1, LONGEST_CALL))
        return ""

    @staticmethod
    def _fits(fault: Fault, vendor: Vendor, writes: bool) -> bool:
        """Reads know no late commits, writes no partial batches; a vendor is never later than its manifest says."""
        if fault == "late":
            return writes and vendor.traits.late_seconds > 0
        if fault in ("after", "200-with-error"):
            return writes
        return not (writes and fault == "partial")

    def _while_it_lasts(self, seconds: float) -> None:
        """Let a call last: time goes on, and the other worker may take over what this one has leased."""
        if self.depth < 2:
            self.depth += 1
            try:
                self.turn(self.at + seconds)
                if self.dice.random() < 0.5:
                    self._round(self.workers[1], polls=False)
            finally:
                self.depth -= 1

    def _border(self, where: str) -> None:
        if self.calm:
            return
        if self.armed is not None and self.armed[0] == where:
            self.armed = (where, self.armed[1] - 1)
            if self.armed[1] <= 0:
                self.armed = None
                self.met[f"died at {where}"] += 1
                raise Killed(where)
        if self.knobs.crashes and self.dice.random() < self.knobs.crashes:
            self.met[f"died at {where}"] += 1
            raise Killed(where)
        if where == "committed" and self._hits("commit unknown"):
            self.met["commit unknown"] += 1
            raise Busy("the database's answer to a commit was lost")

    @contextmanager
    def _quiet(self) -> Iterator[None]:
        """Let nobody die: the rig itself is at work."""
        before, self.calm = self.calm, True
        try:
            yield
        finally:
            self.calm = before

    def _note(self, *what: Any) -> None:
        self.log.update(json.dumps([round(self.at, 3), *what], default=str).encode())

    # --- time ----------------------------------------------------------------------------------------------------

    def _do_at(self, when: float, what: Callable[[], None]) -> None:
        self._ticket += 1
        heapq.heappush(self._later, (when, self._ticket, what))

    def turn(self, instant: float) -> None:
        """Let time go on to an instant; what the vendors do until then happens on the way."""
        while self._later and self._later[0][0] <= instant:
            when, _, what = heapq.heappop(self._later)
            self.at = max(self.at, when)
            what()
        self.at = max(self.at, instant)
        self._tell_time()

    def _tell_time(self) -> None:
        with self._quiet(), self.database.transaction() as tx:
            clock.turn(tx, int((self.at + self.skew) * clock.SECOND))

    def jump(self, seconds: float) -> None:
        """Let the database's clock jump, ahead or back; the time in which vendors live and calls last goes on."""
        self.met["clock jump"] += 1
        self.skew += seconds
        self._tell_time()

    # --- webhooks ------------------------------------------------------------------------------------------------

    def _announce(self, vendor: Vendor, object_name: str, id: str) -> None:
        """Send a webhook through a network that loses, repeats and reorders."""
        self._note("changed", vendor.name, object_name, id)
        if self._hits("loss"):
            self.met["loss"] += 1
            return
        times = 1
        if self._hits("duplicate"):
            self.met["duplicate"] += 1
            times = self.dice.randint(2, 4)
        for _ in range(times):
            delay = self.dice.uniform(0.1, 2.0)
            if self._hits("reorder"):
                self.met["reorder"] += 1
                delay = self.dice.lognormvariate(4, 1.5)
            self._do_at(self.at + delay, lambda: self._call(vendor.name, object_name, id))

    def _call(self, name: str, object_name: str, id: str) -> None:
        """Deliver one webhook: heard, kept, acknowledged after the commit; tried again when it was not."""
        system = self.house.systems[name]
        scheme = system.connector.manifest.webhook
        assert scheme is not None
        body = json.dumps({"changed": [{"object": object_name, "id": id}], "at": self.vendors[name].counter}).encode()
        headers = sign(scheme, system.client.connection.webhook_secret, "", body)
        said = hear(system, headers, body)
        try:
            with self.database.transaction() as tx:
                inbox.keep(tx, name, said.arrivals, origin="webhook", lane="notice")
        except (Killed, Trouble):
            self._do_at(self.at + 5.0, lambda: self._call(name, object_name, id))

    # --- the hub at work -----------------------------------------------------------------------------------------

    def work(self, *, polls: bool = True) -> int:
        """Let each worker do one round; return how much was done."""
        return sum(self._round(name, polls=polls) for name in list(self.workers))

    def _round(self, worker: str, *, polls: bool) -> int:
        lanes: list[Callable[[], int]] = [
            lambda: fetch_announced(self.house, worker),
            lambda: ingest(self.house, "master"),
            lambda: ingest(self.house, "volume"),
            *(self._delivering(name, worker) for name in self.knobs.books),
        ]
        if polls:
            lanes += [
                self._polling(system) for system in self.house.systems.values() if system.connector.manifest.reads
            ]
        if read_back is not None:
            lanes += [self._reading_back(name) for name in self.knobs.books]
        if not self.calm:
            self.dice.shuffle(lanes)
        done = 0
        for lane in lanes:
            try:
                done += lane()
            except Trouble as trouble:
                self._note("waited", worker, str(trouble)[:60])
            except Killed:
                self._bury(worker)
                break
        return done

    def _delivering(self, name: str, worker: str) -> Callable[[], int]:
        return lambda: deliver(self.house, self.house.systems[name], worker, self.pool)

    def _reading_back(self, name: str) -> Callable[[], int]:
        return lambda: int(read_back(self.house, self.house.systems[name])) if read_back is not None else 0

    def _polling(self, system: System) -> Callable[[], int]:
        def all_of_it() -> int:
            found = 0
            for object_name in system.connector.manifest.reads:
                more = True
                while more:
                    count, more = poll(self.house, system, object_name)
                    found += count
            return found

        return all_of_it

    def _bury(self, worker: str) -> None:
        """Put another worker in a dead one's place; sometimes the reaper comes, sometimes leases just run out."""
        self._note("died", worker)
        if worker in self.workers:
            self.born += 1
            self.workers[self.workers.index(worker)] = f"worker-{self.born}"
        if self.dice.random() < 0.5:
            self.met["reaper"] += 1
            self._do_at(self.at + 15.0, lambda: self._reap(worker))

    def _reap(self, worker: str) -> None:
        with self._quiet(), self.database.transaction() as tx:
            deliveries.release(tx, worker)
            inbox.release(tx, worker)

    # --- what people do ------------------------------------------------------------------------------------------

    def act(self, name: str, number: int) -> None:
        """Let one thing happen."""
        self._note("act", name, number)
        self.met[f"act {name}"] += 1
        getattr(self, f"_{name}")(random.Random(f"{name}/{number}"), number)

    def _worker(self, dice: random.Random, number: int) -> None:
        index = number % PEOPLE
        fields = {
            "number": str(1000 + index), "name": f"Person {dice.randint(1, 999)}", "email": f"p{index}@rig.example",
            "entity": "DE01", "role": dice.choice(("Consultant", "Partner")),
        }  # fmt: skip
        self.vendors["people"].put("Worker", f"W{index}", fields)

    def _account(self, dice: random.Random, number: int) -> None:
        fields = {"name": f"Client {dice.randint(1, 999)}", "country": dice.choice(COUNTRIES), "currency": "EUR"}
        self.vendors["sales"].put("Account", f"A{number % PEOPLE}", fields)

    def _time(self, dice: random.Random, number: int) -> None:
        """Enter time; it is approved at once, later, or never. Some of it is an absence."""
        fields = {
            "who": f"p{dice.randrange(PEOPLE)}@rig.example", "project": "RIG-1", "day": f"2026-0{dice.choice('78')}-1{number % 10}",
            "minutes": dice.randint(1, 96) * 5, "state": dice.choice(("approved", "approved", "draft")),
            "kind": dice.choice(("work", "work", "work", "absence")),
        }  # fmt: skip
        if f"T{number}" not in self.vendors["works"].tables.get("Time", {}):
            self.vendors["works"].put("Time", f"T{number}", fields)

    def _approve(self, dice: random.Random, number: int) -> None:
        drafts = [row for row in self._rows("works", "Time") if row.fields["state"] == "draft"]
        if drafts:
            row = drafts[number % len(drafts)]
            self.vendors["works"].put("Time", row.id, {"state": "submitted"})
            self._do_at(self.at + dice.uniform(1, 600), lambda: self._approved(row.id))

    def _approved(self, id: str) -> None:
        self.vendors["works"].put("Time", id, {"state": "approved"})

    def _reapprove(self, dice: random.Random, number: int) -> None:
        """Somebody takes an approval back, looks again and approves: the entry is a new version, its document is not."""
        approved = [row for row in self._rows("works", "Time") if row.fields["state"] == "approved"]
        if approved:
            row = approved[number % len(approved)]
            self.vendors["works"].put("Time", row.id, {"state": "submitted"})
            self._do_at(self.at + dice.uniform(1, 600), lambda: self._approved(row.id))

    def _rows(self, vendor: str, object_name: str) -> list[Any]:
        rows = self.vendors[vendor].tables.get(object_name, {})
        return [row for _, row in sorted(rows.items()) if not row.gone]

    def _hostile(self, dice: random.Random, number: int) -> None:
        """Somebody saves a record no hub can use, and corrects it within the day."""
        rows = [row for row in self._rows("sales", "Account") if row.id not in self.spoilt]
        if rows:
            row = rows[number % len(rows)]
            good = dict(row.fields)
            self.spoilt.add(row.id)
            self.vendors["sales"].put("Account", row.id, HOSTILE[number % len(HOSTILE)])
            self._do_at(self.at + dice.uniform(60, 80_000), lambda: self._correct(row.id, good))

    def _correct(self, id: str, good: dict[str, Any]) -> None:
        self.spoilt.discard(id)
        row = self.vendors["sales"].tables["Account"][id]
        if not row.gone:
            self.vendors["sales"].put("Account", id, good)

    def _delete(self, dice: random.Random, number: int) -> None:
        vendor, object_name = (("sales", "Account"), ("works", "Time"))[number % 2]
        rows = self._rows(vendor, object_name)
        if rows:
            self.vendors[vendor].remove(object_name, rows[number % len(rows)].id)

    def _restore(self, dice: random.Random, number: int) -> None:
        gone = [row for _, row in sorted(self.vendors["sales"].tables.get("Account", {}).items()) if row.gone]
        if gone:
            self.vendors["sales"].put("Account", gone[number % len(gone)].id, {})

    def _merge(self, dice: random.Random, number: int) -> None:
        """Merge two customers at their owner: the survivor takes a field of the loser, the loser is gone."""
        rows = [row for row in self._rows("sales", "Account") if row.id not in self.spoilt]
        if len(rows) > 1:
            winner, loser = rows[number % len(rows)], rows[(number + 1) % len(rows)]
            self.vendors["sales"].put("Account", winner.id, {"country": loser.fields["country"]})
            self.vendors["sales"].remove("Account", loser.id)

    def _human_edit(self, dice: random.Random, number: int) -> None:
        """Somebody changes in a target what is not the target's."""
        books = self.knobs.books[number % len(self.knobs.books)]
        rows = [row for row in self._rows(books, "Client") if row.key]
        if rows:
            row = rows[number % len(rows)]
            self.edited.add((books, row.key))
            self.vendors[books].put("Client", row.id, {"name": f"Edited {number}"})

    def _close_period(self, dice: random.Random, number: int) -> None:
        """A target closes July; a month later somebody opens it again for what was refused."""
        books = self.vendors[self.knobs.books[number % len(self.knobs.books)]]
        books.closed = "2026-08-01"

    def _drift(self, dice: random.Random, number: int) -> None:
        """A vendor renames a field; the mapping fits again a few hours later."""
        people = self.vendors["people"]
        people.renamed = {"name": "full_name"}
        people.touch("Worker")
        self._do_at(self.at + dice.uniform(600, 20_000), self._undrift)

    def _undrift(self) -> None:
        self.vendors["people"].renamed = {}
        self.vendors["people"].touch("Worker")

    def _outage(self, dice: random.Random, number: int) -> None:
        names = sorted(self.vendors)
        self.met["24 h outage"] += 1
        self.down[names[number % len(names)]] = self.at + 24 * 3600

    def _clock_jump(self, dice: random.Random, number: int) -> None:
        self.jump(dice.choice((-3600, 3600, 86_400, -300)))

    def _die(self, dice: random.Random, number: int) -> None:
        self.armed = (dice.choice(("begin", "commit", "committed", "call")), 1 + number % 3)

    def _resend(self, dice: random.Random, number: int) -> None:
        """A person sends what was rejected or parked again, without looking: that must be harmless, too."""
        with self._quiet(), self.database.transaction() as tx:
            rows = tx.rows(
                "select key from deliveries where state in ('rejected', 'parked') and dedupe <> 'D' order by key"
            )
            deliveries.resend(tx, [row["key"] for row in rows])

    def _replay(self, dice: random.Random, number: int) -> None:
        """Somebody replays everything that was ever applied."""
        with self._quiet(), self.database.transaction() as tx:
            rows = tx.rows("select number from inbox where state = 'applied' and lane <> 'notice' order by number")
            inbox.reopen(tx, [row["number"] for row in rows])

    def _wait(self, dice: random.Random, number: int) -> None:
        self.turn(self.at + dice.choice((0.5, 3.0, 20.0, 120.0, 900.0, 7200.0)))

    # --- the end -------------------------------------------------------------------------------------------------

    def heal(self) -> None:
        """End every fault, let people finish what is theirs to finish, and let the hub work until it is quiet."""
        self.calm = True
        self.armed = None
        self.down.clear()
        for vendor in self.vendors.values():
            vendor.closed = ""
        step = 1.0
        rested = False
        stood = (-1, -1, -1)
        for turn in range(MOST_TURNS):
            last = max((when for when, _, _ in self._later), default=self.at)
            self.turn(max(self.at + step, last if turn == 1 else self.at))
            self.work(polls=turn % 3 == 2 or turn == 0)
            with self.database.transaction() as tx:
                inbox.wake_missed(tx)
                left = inbox.open_count(tx) + deliveries.open_count(tx)
                now = left, clock.arrivals(tx), len(tx.rows("select key from deliveries where state = 'confirmed'"))
            done, stood = now != stood, now  # what is only looked at and put back is no progress
            if not done and not self._later and turn > 2 and (not left or step > A_LONG_WAIT):
                if not self._people_decide() and not left:
                    if rested:
                        return
                    rested = True  # what is looked at again after a while has its while
                    self.turn(self.at + READ_BACK_IS_OVER)
                step = 1.0 if not left else step
            step = 1.0 if done else min(step * 4, 7200.0)

    def _people_decide(self) -> int:
        """Let a person look at what was rejected or parked: a parked write that is there is made known as such, any other
        is sent again. What was rejected is not there, whatever an earlier write has left."""
        with self.database.transaction() as tx:
            rows = tx.rows("select * from deliveries where state in ('rejected', 'parked') order by key")
            again, settled = [], 0
            for row in rows:
                found = self._there(row) if row["state"] == "parked" else None
                if found is None:
                    again.append(row["key"])
                elif found_by_a_person is not None:
                    settled += found_by_a_person(tx, row["key"], found)
                elif row["key"] not in self.learned:
                    self.learned.add(row["key"])
                    seen = Known(row["key"], row["object"], row["gid"], row["kind"], row["purpose"], found)
                    learn(tx, self.house, row["system"], [seen])
                    again += [row["key"]] if row["purpose"] == "follow" else []
            return settled + deliveries.resend(tx, again)

    def _there(self, row: dict[str, Any]) -> str | None:
        """Return the record a target keeps an object as, where it shows what the delivery wrote, or something newer."""
        version = int((row["body"] or {}).get("version") or 0)
        rows = self.vendors[row["system"]].tables.get(row["object"], {}).values()
        found = next((one for one in rows if one.key == row["gid"]), None)
        return found.id if found and version and int(found.fields.get("version") or 0) >= version else None

    def check(self) -> list[str]:
        """Hold the end against every oracle."""
        found: list[str] = []
        with self.database.transaction() as tx:
            states = {r["state"]: int(r["n"]) for r in tx.rows("select state, count(*) as n from inbox group by 1")}
            unruled = int(tx.value("select count(*) from inbox where state = 'ignored' and rule is null"))
            ledger = tx.rows("select * from deliveries order by key")
            versions = tx.tuples("select gid, version from changes order by number")
            disputed = {
                (r["system"], r["gid"]) for r in tx.rows("select system, gid from proposals where state = 'open'")
            }
            received = clock.arrivals(tx)
            stuck = tx.rows(
                "select number, object, external_id, state, reason from inbox where state in ('pending', 'waiting')"
            )
        found += oracles.unaccounted(received, states, unruled)
        found += oracles.backwards([(str(gid), int(version)) for gid, version in versions])
        found += oracles.unsettled(ledger, self._seen_by_a_person(ledger))
        found += [f"message {r['number']} of {r['object']} {r['external_id']} is {r['state']}: {r['reason']}" for r in stuck
                  if r["state"] == "pending" or not self._waits_rightly(r)]  # fmt: skip
        for name in self.knobs.books:
            vendor = self.vendors[name]
            found += oracles.doubled(vendor.journal)
            if vendor.traits.conditional:  # elsewhere an older value may stand until it is read back
                found += oracles.older_over_newer(vendor.journal)
            found += self._equal(name, disputed)
        return found

    def _seen_by_a_person(self, ledger: Sequence[dict[str, Any]]) -> list[str]:
        """Return what stays parked although it is there: nobody can tell from outside, so a person has to."""
        return [row["key"] for row in ledger if row["state"] == "parked" and self._there(row) is not None]

    def _waits_rightly(self, row: dict[str, Any]) -> bool:
        """Say whether a message waits for somebody nobody has hired."""
        if row["object"] != "Time":
            return False
        entry = self.vendors["works"].tables["Time"][row["external_id"]]
        return not any(
            one.fields["email"] == entry.fields["who"]
            for one in self.vendors["people"].tables.get("Worker", {}).values()
        )

    def _equal(self, name: str, disputed: set[tuple[str, str]]) -> list[str]:
        """Compare what a target holds with what the owners hold."""
        vendor = self.vendors[name]
        found: list[str] = []
        told = TOLD if houses.masters(vendor.traits) else ()
        for owner, table, kind, target in told:
            theirs = {row.key: row.fields for row in vendor.tables.get(target, {}).values()}
            ours = {
                derive(kind, owner, table, row.id): {field: row.fields[field] for field in houses.FIELDS[table]}
                for row in self._rows(owner, table)
            }
            shown = {gid for system, gid in disputed if system == name}
            found += oracles.unequal(
                ours, theirs, f"{name}.{target}", shown & {key for of, key in self.edited if of == name}
            )
        hired = {row.fields["email"] for row in self._rows("people", "Worker")}
        due: dict[str, dict[str, Any]] = {
            derive("time_entry", "works", "Time", row.id): {}
            for row in self._rows("works", "Time")
            if row.fields["state"] == "approved" and row.fields["kind"] == "work" and row.fields["who"] in hired
        }
        bills = {row.key: row.fields for row in vendor.tables.get("Bill", {}).values()}
        return found + oracles.unequal(due, bills, f"{name}.Bill")


MOST_TURNS = 60


def _traits(system: System) -> Traits:
    """Return a vendor's traits as its manifest has them."""
    name = system.name
    if name not in BOOKS:
        return Traits()
    return traits(name)


def traits(name: str) -> Traits:
    """Return what a target promises; it commits late only where the hub's manifests can say so."""
    late = LATEST if houses.DOUBT_IS_KNOWN else 0
    conditional = read_back is None or BOOKS[name] != "A"
    lag = 30 if late and BOOKS[name] == "C" else 0
    return Traits(BOOKS[name], conditional, late, lag, KEYS_LIVE)


class Stage:
    """What many runs share: the database, the house over every target, the pool."""

    def __init__(self, url: str) -> None:
        clock.prepare(url)
        self.database = Watched(url, size=3)
        self.database.open()
        clock.careless(self.database, 3)
        with self.database.transaction() as tx:
            clock.steady(tx)
        self.houses: dict[tuple[str, ...], House] = {}
        self.pool = Inline(1)

    def house(self, books: tuple[str, ...]) -> House:
        """Return the house over these targets, built once."""
        if books not in self.houses:
            self.houses[books] = houses.build(self.database, {name: traits(name) for name in books})
        return self.houses[books]

    def run(self, script: Sequence[Act], seed: int, knobs: Knobs) -> Outcome:
        """Play a script and hold its end against the oracles; a fault of the hub's code is a violation as well."""
        world = World(self.house(knobs.books), self.database, self.pool, seed, knobs)
        violations: list[str]
        try:
            for name, number in script:
                world.act(name, number)
                if world.dice.random() < 0.5:
                    world.turn(world.at + world.dice.uniform(0.1, 10))
                    world.work(polls=world.dice.random() < 0.3)
            world.heal()
            violations = world.check()
        except Trouble as fault:
            violations = [f"the run broke off: {type(fault).__name__}: {fault}"]
        finally:
            self.database.border = staticmethod(lambda where: None)
        for vendor in world.vendors.values():
            world._note(
                vendor.name, [tuple(map(str, (e.object, e.key, e.id, e.created, e.version))) for e in vendor.journal]
            )
        hours = (world.at * clock.SECOND - clock.START) / clock.SECOND / 3600
        return Outcome(violations, world.log.hexdigest(), world.met, self.database.transactions, hours)

    def close(self) -> None:
        """Give the connections back."""
        self.pool.shutdown()
        for house in self.houses.values():
            for system in house.systems.values():
                system.client.close()
        self.database.close()
