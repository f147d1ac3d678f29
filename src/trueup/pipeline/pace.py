"""The hand of one process in a vendor account's budget: asks the database for lots of calls, not for each call."""

import contextlib
import random
import threading
import time
from dataclasses import dataclass
from uuid import uuid4

from trueup.connectors.sdk.manifest import Limits
from trueup.kernel.errors import Busy
from trueup.store import budgets
from trueup.store.budgets import Lot, Returned, SignIn
from trueup.store.database import Database

WANTED = 64
PATIENCE_SECONDS = 30.0
SHORT_PAUSE = 2.0
IDLE_SECONDS = 0.3
RENEW_SECONDS = 3.0
POSTED = frozenset({"invoice", "credit", "journal_reference"})
"""Kinds whose writes are close-day posting."""

Use = tuple[str, str]
"""(lane, legal entity)"""


@dataclass(slots=True)
class Permit:
    """A lot in the hand of this process: one call at a time is made on it.

    began, until  monotonic seconds; no call is begun on it after `until`
    """

    lot: int
    use: Use
    left: int
    began: float
    until: float
    used: int = 0
    idle_since: float = 0.0


class SharedBudget:
    """Gives permits for calls to one account, in step with every other process over the same database.

    account  what shares one limit at the vendor; several systems may name the same
    holder   this process, as it stands in the database
    """

    def __init__(self, database: Database, account: str, title: str, limits: Limits, holder: str | None = None) -> None:
        self.account = account
        self.holder = holder or f"process_{uuid4().hex[:12]}"
        self._database = database
        self._title = title
        self._limits = limits
        self._changed = threading.Condition()
        self._idle: list[Permit] = []
        self._under_way: dict[int, Permit] = {}
        self._renewed_at = time.monotonic()
        self._asking: set[Use] = set()
        self._told_at = 0.0
        self._answered = False
        self._keeper: threading.Thread | None = None
        with database.transaction() as tx:
            budgets.open_account(tx, account, limits.per_second, limits.concurrency, limits.timeout_seconds)

    # --- calls ---------------------------------------------------------------------------------------------------

    def begin(self, lane: str, entity: str) -> Permit:
        """Wait for our turn and return a permit for one call.

        Raises    Busy when the vendor wants everybody to stay away, or others use up the account for too long.
        """
        use = (lane, entity)
        ends = time.monotonic() + PATIENCE_SECONDS
        while True:
            permit, mine = self._from_hand(use)
            if permit is not None:
                return self._begun(permit)
            if mine:  # one thread asks for all of the same use
                try:
                    permit, wait = self._from_database(use)
                finally:
                    with self._changed:
                        self._asking.discard(use)
                        self._changed.notify_all()
                if permit is not None:
                    return self._begun(permit)
                time.sleep(wait * random.uniform(0.8, 1.2))
            if time.monotonic() > ends:
                with self._database.transaction() as tx:
                    budgets.leave(tx, self.account, self.holder, lane, entity)
                raise Busy(f"the calls that {self._title} allows are used by others", SHORT_PAUSE)

    def end(self, permit: Permit) -> None:
        """Keep the permit for the next call of the same use, or give it back."""
        now = time.monotonic()
        with self._changed:
            self._under_way.pop(permit.lot, None)
            if permit.left > 0 and now < permit.until:
                permit.idle_since = now
                self._idle.append(permit)
                self._changed.notify()
                return
        self._return([permit])

    def told(self, retry_after: float | None, *, overload: bool) -> float:
        """Keep everybody away, as the vendor said or as we guess; return for how long, seconds."""
        with self._changed:
            self._told_at = time.monotonic()
            dropped, self._idle = self._idle, []
            alone, self._answered = self._answered, False
        with self._database.transaction() as tx:
            seconds = budgets.slow_down(tx, self.account, retry_after, overload=overload, alone=alone)
        if dropped:
            self._return(dropped)
        return seconds

    def answered(self) -> None:
        """Note that a call was answered as it should be: a refusal after it stands alone."""
        self._answered = True

    def batch(self, most: int, seconds: float) -> int:
        """Return how many calls it is wise to begin together: what the pace allows in so many seconds."""
        return max(1, min(most, int(self._limits.per_second * seconds)))

    def close(self) -> None:
        """Give back what is in the hand; calls under way give theirs back when they end."""
        with self._changed:
            idle, self._idle = self._idle, []
        if idle:
            self._return(idle)

    def _from_hand(self, use: Use) -> tuple[Permit | None, bool]:
        """Take an idle permit of this use; else say whether this thread is to ask the database for one."""
        with self._changed:
            now = time.monotonic()
            for permit in self._idle:
                if permit.use == use and now < permit.until:
                    self._idle.remove(permit)
                    return _used(permit), False
            if use in self._asking:
                self._changed.wait(0.1)
                return None, False
            self._asking.add(use)
            return None, True

    def _from_database(self, use: Use) -> tuple[Permit | None, float]:
        """Ask for a lot; without one return how many seconds to wait.

        Raises    Busy when the vendor wants everybody to stay away for longer than a moment.
        """
        began = time.monotonic()
        with self._database.transaction() as tx:
            got = budgets.take(tx, self.account, self.holder, *use, WANTED)
        if isinstance(got, Lot):
            return _used(Permit(got.lot, use, got.calls, began, began + got.seconds)), 0.0
        if got.paused and got.seconds > SHORT_PAUSE:
            raise Busy(f"{self._title} has asked us to wait", got.seconds)
        return None, min(got.seconds, SHORT_PAUSE)

    def _begun(self, permit: Permit) -> Permit:
        """Look after a permit from here on: a call may take longer than the lease of its lot."""
        with self._changed:
            self._under_way[permit.lot] = permit
            if self._keeper is None:
                self._renewed_at = time.monotonic()
                self._keeper = threading.Thread(target=self._keep, name=f"budget-{self.account}", daemon=True)
                self._keeper.start()
        return permit

    def _keep(self) -> None:
        """Give back what has lain idle, renew what calls are made on, until nothing is left to look after."""
        while True:
            time.sleep(IDLE_SECONDS / 2)
            now = time.monotonic()
            with self._changed:
                stale = [one for one in self._idle if now > one.until or now - one.idle_since > IDLE_SECONDS]
                self._idle = [one for one in self._idle if one not in stale]
                long = [lot for lot, one in self._under_way.items() if now - one.began > RENEW_SECONDS]
                if not self._idle and not stale and not self._under_way:
                    self._keeper = None
                    return
            if long and now - self._renewed_at > RENEW_SECONDS:
                self._renewed_at = now
                with contextlib.suppress(Busy), self._database.transaction() as tx:
                    budgets.renew(tx, self.account, long)
            if stale:
                self._return(stale)

    def _return(self, permits: list[Permit]) -> None:
        """Give lots back. When the database is away their leases end by themselves: nothing is lost but a moment."""
        well = all(permit.began > self._told_at for permit in permits)
        with contextlib.suppress(Busy), self._database.transaction() as tx:
            lots = [Returned(one.lot, one.used, one.left) for one in permits]
            budgets.give_back(tx, self.account, lots, well=well)

    # --- signing in ----------------------------------------------------------------------------------------------

    def may_sign_in(self, mark: str) -> None:
        """Wait until nobody else signs in.

        Raises    Busy when signing in now could lock the account, or a person has to look first.
        """
        ends = time.monotonic() + PATIENCE_SECONDS
        while True:
            with self._database.transaction() as tx:
                said = budgets.may_sign_in(tx, self.account, self.holder, mark)
            if said.may:
                return
            if said.stopped or said.seconds > SHORT_PAUSE or time.monotonic() > ends:
                raise self._kept_out(said)
            time.sleep(min(said.seconds, 0.1))

    def signed_in(self) -> None:
        """Note that the vendor accepted us."""
        with self._database.transaction() as tx:
            budgets.signed_in(tx, self.account)

    def gave_up_sign_in(self) -> None:
        """Note that signing in met silence."""
        with contextlib.suppress(Busy), self._database.transaction() as tx:
            budgets.gave_up_sign_in(tx, self.account)

    def sign_in_refused(self, reason: str) -> Busy:
        """Note that the vendor refused us; return what to raise."""
        with self._database.transaction() as tx:
            return self._kept_out(budgets.sign_in_refused(tx, self.account, reason))

    def _kept_out(self, said: SignIn) -> Busy:
        if said.stopped:
            text = (
                f"{said.reason}. Nobody signs in to {self._title} any more, so that the account is not locked: "
                f"correct the credentials of this system, or `trueup budget resume {self.account}`"
            )
            return Busy(text, max(said.seconds, 1.0))
        return Busy(f"signing in to {self._title} waits: {said.reason}", said.seconds)


def lane_of(kind: str) -> str:
    """Return the lane of a write: what the close waits for goes first."""
    return "posting" if kind in POSTED else "master"


def lane_of_read(volume: bool, first: bool) -> str:
    """Return the lane of a poll: `first` reads from the beginning, which can wait for everything else."""
    return "backfill" if first else "volume" if volume else "master"


def _used(permit: Permit) -> Permit:
    permit.left -= 1
    permit.used += 1
    return permit
