"""Commands become vendor writes: written down before the call, looked for before a repetition, settled by fact."""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from trueup.connectors.sdk import standing
from trueup.connectors.sdk.manifest import Write
from trueup.connectors.sdk.wire import Receipt, Record
from trueup.kernel.errors import Broken, Busy, Refused, Trouble, Unsettled
from trueup.kernel.strict_json import digest
from trueup.mapping.outward import Body, outward
from trueup.pipeline import circles, settling
from trueup.pipeline.chunks import send
from trueup.pipeline.house import House, System
from trueup.pipeline.pace import lane_of
from trueup.pipeline.receive import arrivals
from trueup.pipeline.windows import Gate
from trueup.store import changes, crosswalk, cursors, deliveries, inbox, objects
from trueup.store.crosswalk import Link
from trueup.store.database import Tx
from trueup.store.deliveries import Action, Delivery, Outcome, Result
from trueup.store.timely import timely

BATCH = 40


@dataclass(frozen=True, slots=True)
class Prepared:
    """One delivery with all that its attempt needs.

    do           what is done with it
    body         what is sent, or was
    external_id  the system's identifier of the object, where it is known
    until        moment of the process's own steady clock after which nothing is sent any more: the lease would end
    """

    delivery: Delivery
    do: settling.Do
    write: Write
    body: dict[str, Any]
    external_id: str | None
    until: float


@dataclass(frozen=True, slots=True)
class Known:
    """A write a system has confirmed: our object, and the identifier of the record it became there.

    written  fingerprint of what we wrote
    """

    key: str
    object: str
    gid: str
    kind: str
    purpose: str
    external_id: str
    written: str | None = None


def deliver(house: House, system: System, worker: str, pool: ThreadPoolExecutor, limit: int = BATCH) -> int:
    """Make one batch of deliveries to one system; return how many were claimed."""
    began = time.monotonic()
    timeout = system.connector.manifest.limits.timeout_seconds
    lease = settling.lease_seconds(timeout)
    with timely(house.database) as tx:
        if cursors.paused(tx, system.name):
            return 0
        most = system.client.pace.batch(limit, lease / 3)
        claimed = deliveries.claim(tx, system.name, most, worker, lease)
        if not claimed:
            return 0
        refusals = system.connector.manifest.refusals
        about_period = frozenset(code for code, refusal in refusals.items() if refusal.kind == "period")
        gate = Gate(tx, system.name, system.role, system.posting, about_period)
        ready, results = _prepare(tx, house, system, claimed, gate, began + lease - settling.attempt_seconds(timeout))
    results += list(pool.map(lambda item: _paced(system, gate, item), ready))
    with timely(house.database) as tx:
        _settle(tx, house, system, claimed, results)
        gate.learn(tx, results)
    return len(claimed)


def _prepare(
    tx: Tx, house: House, system: System, claimed: Sequence[Delivery], gate: Gate, until: float
) -> tuple[list[Prepared], list[Result]]:
    """Build the bodies from what we know now, and write them down before anything is sent."""
    held = objects.load(tx, [delivery.gid for delivery in claimed])
    sources = {d.key: d.source if d.source is not None else _source(held.get(d.gid)) for d in claimed}
    gids = {gid for source in sources.values() for gid in _identifiers(source)} | {d.gid for d in claimed}
    links: dict[tuple[str, str], Link] = {
        (link.gid, link.object): link for link in crosswalk.of(tx, sorted(gids)) if link.system == system.name
    }
    stopped = circles.stopped(tx, house, system, claimed)
    ready: list[Prepared] = []
    results: list[Result] = []
    made = []
    for delivery in claimed:
        if delivery.key in stopped:
            results.append(_waits(delivery, "parked", stopped[delivery.key], circles.CODE))
            continue
        write = system.connector.manifest.writes.get(delivery.object)
        kept_back, source = gate.look(delivery, sources[delivery.key])
        if kept_back is not None:
            results.append(kept_back)
            continue
        mapping = house.outward.get((delivery.kind, system.name, delivery.object))
        if write is None or mapping is None or source is None:
            why = "the object does not exist" if mapping and write else "no mapping writes this object"
            results.append(_waits(delivery, "parked", why, "configuration"))
            continue
        link = links.get((delivery.gid, delivery.object))
        external_id = delivery.external_id or (link.external_id if link else None)
        built = outward(
            mapping, source, lambda gid, name: links[(gid, name)].external_id if (gid, name) in links else None
        )
        fingerprint = "" if built.waits_for or built.problems else digest(built.body)
        do = settling.next_step(
            delivery, write, known=external_id is not None, same_body=fingerprint == delivery.body_digest
        )
        if do in ("look", "ask", "take_in", "give_up"):
            ready.append(Prepared(delivery, do, write, delivery.body or built.body, external_id, until))
            continue
        cannot = _cannot(delivery, built)
        if cannot is None and link is not None and link.written == fingerprint and delivery.state == "due":
            cannot = replace(_waits(delivery, "confirmed", "the system holds this already"), external_id=external_id)
        if cannot is not None:
            results.append(cannot)
            continue
        made.append((delivery.key, delivery.fence, built.body, fingerprint, mapping.name, mapping.version, external_id))
        ready.append(Prepared(delivery, do, write, built.body, external_id, until))
    if made:
        deliveries.about_to_send(tx, made)
    return ready, results


def _waits(delivery: Delivery, outcome: Outcome, why: str, code: str = "", wait: float = 0.0) -> Result:
    return Result(delivery.key, delivery.fence, outcome, "wait", why, code, wait=wait)


def _cannot(delivery: Delivery, built: Body) -> Result | None:
    """Say why a body cannot be sent yet, or at all; what met silence stays open for as long."""
    met_silence = delivery.state == "unknown"
    if built.waits_for:
        names = ", ".join(f"{name} of {gid}" for gid, name in built.waits_for[:3])
        wait = settling.back_off(delivery.attempts + 2)
        return _waits(delivery, "unknown" if met_silence else "due", f"waits for {names}", wait=wait)
    if built.problems:
        why = "; ".join(f"{p.field}: {p.message}" for p in built.problems)
        return _waits(delivery, "parked", why, "mapping")
    return None


def _source(held: objects.Held | None) -> dict[str, Any] | None:
    return None if held is None else {**held.body, "gid": held.gid, "version": held.version}


def _identifiers(value: Any) -> list[str]:
    """Return everything in a source that looks like one of our identifiers."""
    if isinstance(value, str):
        return [value] if len(value) == 30 and value[3] == "_" else []
    if isinstance(value, dict):
        return [gid for item in value.values() for gid in _identifiers(item)]
    if isinstance(value, list):
        return [gid for item in value for gid in _identifiers(item)]
    return []


def _paced(system: System, gate: Gate, item: Prepared) -> Result:
    """Make one attempt from the budget of its lane and legal entity."""
    spared = gate.spare(item.delivery)
    if spared is not None:
        return spared
    with system.client.pace.using(lane_of(item.delivery.kind), item.delivery.legal_entity):
        result = _attempt(system, item)
    gate.heard(result)
    return result


def _attempt(system: System, item: Prepared) -> Result:
    """Make one attempt; whatever goes wrong becomes a state, and nothing is lost or repeated because of it."""
    began = time.monotonic()
    doing: Mapping[settling.Do, Action] = {"look": "find", "give_up": "find", "ask": "ask", "take_in": "read"}
    action = doing.get(item.do, "send")
    try:
        done = _do(system, item, began)
    except Exception as fault:  # a fault of the connector: keep the delivery for a person, never lose or repeat it
        done = _result(item, "parked", action, detail=f"{type(fault).__name__}: {str(fault)[:300]}", code="fault")
    return replace(done, took_ms=int((time.monotonic() - began) * 1000))


def _do(system: System, item: Prepared, now: float) -> Result:
    if item.do == "give_up":
        detail = "nobody can tell whether it landed; a person has to look"
        return _result(item, "parked", "find", detail=detail, code="silence")
    if now > item.until:  # an hour in a debugger, a machine asleep: somebody else may have taken over
        return _result(item, item.delivery.state, "wait", detail="its time was over before it could be sent", wait=0.0)
    if item.do == "take_in":
        return _take_in(system, item)
    if item.do == "ask":
        return _ask(system, item)
    if item.do == "look":
        return _look(system, item)
    return _send(system, item)


def _send(system: System, item: Prepared) -> Result:
    """Send it. What is made for the second time is looked for first: a timeout never becomes a second document."""
    one = item.delivery
    met_silence = one.state == "unknown"
    wait = settling.back_off(one.attempts)
    open_end: Outcome = "unknown" if met_silence else "due"
    try:
        if item.do == "look_then_send":
            found = system.client.find(one.object, one.gid)
            if found is not None:
                return _result(item, "landed", "find", external_id=found.external_id, detail="it was there")
    except Trouble as trouble:  # nothing was sent
        later = max(wait, getattr(trouble, "retry_after", None) or 0.0)
        return _result(item, open_end, "find", detail=str(trouble), wait=later)
    try:
        receipt = send(system.client, one.object, one.gid, item.body, item.external_id, one.once)
    except Busy as away:
        return _result(item, open_end, "send", detail=str(away), wait=max(wait, away.retry_after or 0.0))
    except Unsettled as silence:
        return _result(item, "unknown", "send", detail=str(silence), wait=settling.first_look(item.write))
    except Refused as no:
        try:
            there = _stands(system, item) if met_silence else None
        except Trouble as trouble:
            return _result(item, "unknown", "send", detail=f"{no}; and nobody could look: {trouble}", wait=wait)
        if there is not None:
            return _result(item, "landed", "send", external_id=there, detail=f"it had landed; again they said: {no}")
        if met_silence and item.external_id is None and not settling.refusal_is_last(one, item.write):
            detail = f"{no}; and what was sent before may land yet"
            return _result(item, "unknown", "send", detail=detail, code=no.code, wait=settling.first_look(item.write))
        return _result(item, "rejected", "send", detail=str(no), code=no.code)
    except Broken as missing:
        return _result(item, "parked", "send", detail=str(missing), code="configuration")
    return _received(item, "send", receipt)


def _received(item: Prepared, action: Action, receipt: Receipt) -> Result:
    if receipt.job:
        wait = item.write.poll_seconds[0]
        return _result(item, "processing", action, job=receipt.job, detail=f"accepted as {receipt.job}", wait=wait)
    minutes = item.write.read_back_minutes
    read_back = None if minutes is None else minutes * 60
    return _result(item, "confirmed", action, external_id=receipt.external_id, read_back=read_back)


def _look(system: System, item: Prepared) -> Result:
    """Look whether what met silence is there. Only a look after the cool-down may say that it is not, and will not be."""
    one = item.delivery
    try:
        found = system.client.find(one.object, one.gid)
        stands = found is not None and (one.job is None or _stands(system, item) is not None)
    except Trouble as trouble:  # that we may not look says nothing about the write
        wait = max(settling.back_off(one.looks), getattr(trouble, "retry_after", None) or 0.0)
        return _result(item, "unknown", "find", detail=f"nobody could look: {trouble}", wait=wait)
    if found is not None and stands:
        return _result(item, "landed", "find", external_id=found.external_id, detail="it had landed")
    if settling.cooled_down(one, item.write):
        anew = one.job is not None
        detail = "it is not there, and the time for late commits is over: it did not land"
        return _result(item, "due", "find", detail=detail, anew=anew)
    return _result(item, "unknown", "find", detail="not there (yet)", wait=settling.next_look(one, item.write))


def _stands(system: System, item: Prepared) -> str | None:
    """Return the identifier under which exactly what we wrote stands at the system, or None."""
    one = item.delivery
    try:
        found = system.client.find(one.object, one.gid)
        there = system.client.standing(one.object, found.external_id, item.body) if found else None
    except Broken:  # it does not show what we write
        return None
    shown = list(standing.shown(item.body, there))
    return found.external_id if found and shown and all(ours == theirs for _, ours, theirs in shown) else None


def _ask(system: System, item: Prepared) -> Result:
    """Ask what became of a job; one that nobody knows any more, or that never ends, is silence."""
    one = item.delivery
    again = settling.next_question(one, item.write)
    try:
        receipt = system.client.outcome(one.object, one.gid, item.body, one.job or "")
    except Busy as away:
        receipt, detail = None, str(away)
        again = again and max(again, away.retry_after or 0.0)
    except Unsettled as silence:
        return _result(item, "unknown", "ask", detail=str(silence))
    except Refused as no:
        return _result(item, "rejected", "ask", detail=str(no), code=no.code)
    else:
        detail = f"{system.connector.manifest.title} works on it"
    if receipt is not None:
        return _received(item, "ask", receipt)
    if again is None:
        minutes = f"{item.write.job_minutes:g}"
        return _result(item, "unknown", "ask", detail=f"the job {one.job} did not end within {minutes} minutes")
    return _result(item, "processing", "ask", detail=detail, wait=again)


def _take_in(system: System, item: Prepared) -> Result:
    """Read in what a look had found: its word goes through the inbox like any other."""
    one = item.delivery
    minutes = item.write.read_back_minutes
    read_back = None if minutes is None else minutes * 60
    external_id = item.external_id or ""
    if one.object not in system.connector.manifest.reads:
        return _result(item, "confirmed", "read", external_id=external_id, read_back=read_back)
    try:
        records = system.client.fetch(one.object, [external_id])
    except Trouble as trouble:
        wait = max(settling.back_off(one.looks), getattr(trouble, "retry_after", None) or 0.0)
        return _result(item, "landed", "read", external_id=external_id, detail=str(trouble), wait=wait)
    if not records:
        return _result(
            item, "unknown", "read", detail="it was found, and is gone", wait=settling.first_look(item.write)
        )
    return _result(
        item, "confirmed", "read", external_id=external_id, read_back=read_back, extra={"records": tuple(records)}
    )


def _result(item: Prepared, outcome: Outcome, action: Action, **more: Any) -> Result:
    return Result(item.delivery.key, item.delivery.fence, outcome, action, **more)


def _settle(tx: Tx, house: House, system: System, claimed: Sequence[Delivery], results: Sequence[Result]) -> None:
    """Write the outcomes; what is confirmed enters the crosswalk with the fingerprint of what we wrote."""
    ours = deliveries.settle(tx, results)
    by_key = {delivery.key: delivery for delivery in claimed}
    fingerprints = {
        row["key"]: row["body_digest"]
        for row in tx.rows("select key, body_digest from deliveries where key = any(%s)", (sorted(ours),))
    }
    confirmed = [r for r in results if r.outcome == "confirmed" and r.key in ours and r.external_id]
    _keep(tx, system, [record for one in confirmed for record in one.extra.get("records", ())])
    troubled = [
        r for r in results if r.outcome in ("unknown", "rejected") or (r.outcome == "due" and r.action != "wait")
    ]
    pause = max((r.wait for r in results if r.outcome == "due" and r.action != "wait"), default=0.0)
    cursors.felt(
        tx,
        system.name,
        calls=sum(1 for r in results if r.action != "wait"),
        error=troubled[0].detail[:300] if troubled else None,
        pause=pause if pause >= 1.0 else None,
    )
    known = [
        Known(key, one.object, one.gid, one.kind, one.purpose, str(external_id), fingerprints.get(key))
        for key, external_id, one in ((r.key, r.external_id, by_key[r.key]) for r in confirmed)
    ]
    learn(tx, house, system.name, known)


def _keep(tx: Tx, system: System, records: Sequence[Record]) -> None:
    """Keep records that were read in; the next to take in messages finds them."""
    reads = system.connector.manifest.reads
    for lane in sorted({reads[record.object].lane for record in records}):
        of_lane = [record for record in records if reads[record.object].lane == lane]
        inbox.keep(tx, system.name, arrivals(of_lane), origin="fetch", lane=lane)


def learn(tx: Tx, house: House, system: str, confirmed: Sequence[Known]) -> None:
    """Take in which records a system keeps our objects as: the crosswalk, those who waited for it, and listeners."""
    links = [Link(system, one.object, one.external_id, one.gid, written=one.written) for one in confirmed]
    crosswalk.put(tx, links)
    inbox.wake(tx, [f"{link.system}/{link.object}/{link.external_id}" for link in links])
    events = [
        changes.Event(
            f"delivery.confirmed/{one.key}", "delivery.confirmed", one.gid, one.kind,
            {"code": one.purpose, "reason": system},
        )
        for one in confirmed
    ]  # fmt: skip
    house.react(tx, changes.tell(tx, events))
