"""Business events go to those who asked for them: at least once, each under its own id, however long they take to answer.

The log of events is what is sent; a subscriber that is away waits in it, and takes no memory. An event whose answer we
did not see is sent again under the same id: by CloudEvents and Standard Webhooks that is the same event, not another.
"""

import asyncio
import random
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import structlog

from trueup.connectors.sdk.courier import Courier, Reply, Subscriber
from trueup.kernel.errors import Trouble
from trueup.model.events import DELICATE, cloud_event
from trueup.pipeline.house import House
from trueup.store import subscriptions
from trueup.store.subscriptions import Sending, Told

log = structlog.get_logger("trueup.publish")

RETRY_SECONDS = (5.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 36_000.0)
"""Waits between the attempts of one event; after the last it waits for a person."""
AWAY_SECONDS = (1.0, 5.0, 30.0, 120.0, 600.0, 1_800.0)
"""How long a subscriber that does not answer at all is left alone."""
LEASE_EXTRA_SECONDS = 15.0
IDLE_SECONDS = (0.02, 0.1)
FLUSH_SECONDS = 0.02
TROUBLE_SECONDS = 0.5
GONE = 410
_JSON = msgspec.json.Encoder(decimal_format="string")


@dataclass(slots=True)
class _Desk:
    """One subscriber's calls under way in this process.

    quiet_until  nothing is begun before (monotonic): it did not answer, and the database hears of it in a moment
    """

    subscriber: Subscriber
    quiet_until: float = 0.0
    under_way: set[asyncio.Task[None]] = field(default_factory=set)


class Publisher:
    """One process's part in telling subscribers.

    house    with its subscribers
    worker   the name under which it leases
    """

    def __init__(self, house: House, worker: str) -> None:
        self.house = house
        self.worker = worker
        self._stop = threading.Event()
        self._results: list[Told] = []
        self._away: dict[str, tuple[str, float]] = {}
        self._gone: dict[str, str] = {}

    def stop(self) -> None:
        """Begin nothing more; what is under way is waited for a moment, the rest is sent by others."""
        self._stop.set()

    def run(self) -> None:
        """Work until `stop`, in an event loop of this thread's own."""
        if self.house.subscribers:
            asyncio.run(self._run())

    async def _run(self) -> None:
        courier = Courier()
        flushing = asyncio.create_task(self._keep_flushing())
        try:
            await asyncio.gather(*(self._serve(courier, _Desk(one)) for one in self.house.subscribers.values()))
        finally:
            flushing.cancel()
            await self._flush()
            await courier.close()

    async def _serve(self, courier: Courier, desk: _Desk) -> None:
        subscriber, idle = desk.subscriber, IDLE_SECONDS[0]
        while not self._stop.is_set():
            if (quiet := desk.quiet_until - time.monotonic()) > 0:
                await asyncio.sleep(min(quiet, IDLE_SECONDS[1]))
                continue
            room = subscriber.in_flight - len(desk.under_way)
            if room * 4 < subscriber.in_flight:  # a few claims of many are cheaper than many of a few
                await asyncio.wait(desk.under_way, timeout=FLUSH_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                continue
            try:
                claimed = await asyncio.to_thread(self._claim, subscriber, room)
            except Trouble as trouble:
                log.warning("publish.waited", subscription=subscriber.name, reason=str(trouble)[:200])
                await asyncio.sleep(TROUBLE_SECONDS)
                continue
            for sending in claimed:
                task = asyncio.create_task(self._tell(courier, desk, sending))
                desk.under_way.add(task)
                task.add_done_callback(desk.under_way.discard)
            idle = IDLE_SECONDS[0] if claimed else min(idle * 1.5, IDLE_SECONDS[1])
            await asyncio.sleep(0 if claimed else idle)
        if desk.under_way:
            await asyncio.wait(desk.under_way, timeout=2.0)
            for task in desk.under_way:
                task.cancel()

    def _claim(self, subscriber: Subscriber, room: int) -> list[Sending]:
        with self.house.database.transaction() as tx:
            return subscriptions.claim(
                tx, subscriber.name, room, self.worker, subscriber.timeout_seconds + LEASE_EXTRA_SECONDS,
                subscriber.types, ordered=subscriber.ordered,
            )  # fmt: skip

    async def _tell(self, courier: Courier, desk: _Desk, sending: Sending) -> None:
        subscriber, number = desk.subscriber, sending.row["number"]
        reply = await courier.post(subscriber, str(number), body_of(sending.row, cost=subscriber.cost))
        if reply.status == GONE:
            self._gone[subscriber.name] = "answered 410: it wants no more of this"
        elif _is_away(reply):
            wait = reply.retry_after or 0.0
            desk.quiet_until = time.monotonic() + AWAY_SECONDS[0]
            self._away[subscriber.name] = (reply.detail, max(wait, self._away.get(subscriber.name, ("", 0.0))[1]))
        self._results.append(result_of(subscriber.name, number, sending.attempts, reply))

    async def _keep_flushing(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            await self._flush()

    async def _flush(self) -> None:
        if not self._results:
            return
        results, self._results = self._results, []
        away, self._away = self._away, {}
        gone, self._gone = self._gone, {}
        try:
            await asyncio.to_thread(self._write, results, away, gone)
        except (
            Trouble
        ) as trouble:  # written with the next ones; when we die before, they are sent again under the same id
            log.warning("publish.unwritten", count=len(results), reason=str(trouble)[:200])
            self._results, self._away, self._gone = results + self._results, away | self._away, gone | self._gone
            await asyncio.sleep(TROUBLE_SECONDS)

    def _write(self, results: list[Told], away: Mapping[str, tuple[str, float]], gone: Mapping[str, str]) -> None:
        with self.house.database.transaction() as tx:
            subscriptions.settle(tx, results)
            taken = {one.subscription for one in results if one.outcome == "told"}
            for name, (reason, asked) in away.items():
                if name in taken and not asked:
                    continue  # it answers others: this one's own waits are enough
                row = tx.row("select misses from subscriptions where subscription = %s for update", (name,))
                misses = row["misses"] if row else 0
                usual = AWAY_SECONDS[min(misses, len(AWAY_SECONDS) - 1)]
                subscriptions.missed(tx, name, reason, max(asked, usual))
            for name, reason in gone.items():
                subscriptions.set_state(tx, name, "gone", reason)


def _is_away(reply: Reply) -> bool:
    """Say whether the subscriber has trouble of its own, whatever it is told."""
    return reply.status is None or reply.status == 429 or reply.status >= 500


def result_of(subscription: str, number: int, attempts: int, reply: Reply) -> Told:
    """Say what one attempt means for its event.

    A subscriber that is away makes no event fail: it waits until the subscriber is back. A refusal is this event's own.
    """
    if reply.taken:
        return Told(subscription, number, attempts, "told", reply.status)
    if _is_away(reply) or reply.status == GONE:
        return Told(subscription, number, attempts, "due", reply.status, reply.detail, reply.retry_after or 0.0)
    if attempts > len(RETRY_SECONDS):
        return Told(subscription, number, attempts, "failed", reply.status, reply.detail)
    wait = RETRY_SECONDS[attempts - 1] * random.uniform(1.0, 1.1)
    return Told(subscription, number, attempts, "due", reply.status, reply.detail, max(wait, reply.retry_after or 0.0))


def body_of(row: Mapping[str, Any], *, cost: bool) -> bytes:
    """Return an event as structured CloudEvents JSON; amounts made of cost are for those who may see them."""
    data = (
        row["data"] if cost or row["kind"] not in DELICATE else {k: v for k, v in row["data"].items() if k != "amount"}
    )
    at = row["created_at"].isoformat().replace("+00:00", "Z")
    event = cloud_event(row["name"], row["number"], row["subject"], at, data)
    if row["message"]:
        event["message"] = str(row["message"])
    return _JSON.encode(event)
