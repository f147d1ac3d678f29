"""Commands become vendor writes: written down before the call, looked for before a repetition, settled by fact."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from trueup.kernel.errors import Broken, Busy, Refused, Unsettled
from trueup.kernel.strict_json import digest
from trueup.mapping.outward import outward
from trueup.pipeline.chunks import send
from trueup.pipeline.house import House, System
from trueup.pipeline.pace import lane_of
from trueup.pipeline.windows import Gate
from trueup.store import changes, crosswalk, cursors, deliveries, inbox, objects
from trueup.store.crosswalk import Link
from trueup.store.database import Tx
from trueup.store.deliveries import Delivery, Result

BATCH = 40
LEASE_SECONDS = 90.0
BACK_OFF = (0.2, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0)
LOOK_TWICE_SECONDS = 1.0

Prepared = tuple[Delivery, dict[str, Any], str | None]


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
    with house.database.transaction() as tx:
        if cursors.paused(tx, system.name):
            return 0
        claimed = deliveries.claim(
            tx, system.name, system.client.pace.batch(limit, LEASE_SECONDS / 3), worker, LEASE_SECONDS
        )
        if not claimed:
            return 0
        refusals = system.connector.manifest.refusals
        about_period = frozenset(code for code, refusal in refusals.items() if refusal.kind == "period")
        gate = Gate(tx, system.name, system.role, system.posting, about_period)
        ready, results = _prepare(tx, house, system, claimed, gate)
    results += list(pool.map(lambda item: _paced(system, gate, *item), ready))
    with house.database.transaction() as tx:
        _settle(tx, house, system, claimed, results)
        gate.learn(tx, results)
    return len(claimed)


def _prepare(
    tx: Tx, house: House, system: System, claimed: Sequence[Delivery], gate: Gate
) -> tuple[list[Prepared], list[Result]]:
    """Build the bodies from what we know now, and write them down before anything is sent."""
    held = objects.load(tx, [delivery.gid for delivery in claimed])
    sources = {d.key: d.source if d.source is not None else _source(held.get(d.gid)) for d in claimed}
    gids = {gid for source in sources.values() for gid in _identifiers(source)} | {d.gid for d in claimed}
    links: dict[tuple[str, str], Link] = {
        (link.gid, link.object): link for link in crosswalk.of(tx, sorted(gids)) if link.system == system.name
    }
    ready: list[Prepared] = []
    results: list[Result] = []
    made = []
    for delivery in claimed:
        kept_back, source = gate.look(delivery, sources[delivery.key])
        if kept_back is not None:
            results.append(kept_back)
            continue
        mapping = house.outward.get((delivery.kind, system.name, delivery.object))
        if mapping is None or source is None:
            why = "no mapping writes this object" if mapping is None else "the object does not exist"
            results.append(Result(delivery.key, delivery.fence, "parked", "wait", why, "configuration"))
            continue
        built = outward(
            mapping, source, lambda gid, name: links[(gid, name)].external_id if (gid, name) in links else None
        )
        if built.waits_for:
            names = ", ".join(f"{name} of {gid}" for gid, name in built.waits_for[:3])
            wait = _back_off(delivery.attempts + 2)
            results.append(Result(delivery.key, delivery.fence, "due", "wait", f"waits for {names}", wait=wait))
            continue
        if built.problems:
            why = "; ".join(f"{p.field}: {p.message}" for p in built.problems)
            results.append(Result(delivery.key, delivery.fence, "parked", "wait", why, "mapping"))
            continue
        fingerprint = digest(built.body)
        link = links.get((delivery.gid, delivery.object))
        external_id = delivery.external_id or (link.external_id if link else None)
        if link is not None and link.written == fingerprint and delivery.state == "due":
            said = Result(
                delivery.key,
                delivery.fence,
                "confirmed",
                "wait",
                "the system holds this already",
                external_id=external_id,
            )
            results.append(said)
            continue
        made.append((delivery.key, delivery.fence, built.body, fingerprint, mapping.name, mapping.version, external_id))
        ready.append((delivery, built.body, external_id))
    if made:
        deliveries.about_to_send(tx, made)
    return ready, results


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


def _paced(system: System, gate: Gate, delivery: Delivery, body: dict[str, Any], external_id: str | None) -> Result:
    """Make one attempt from the budget of its lane and legal entity."""
    spared = gate.spare(delivery)
    if spared is not None:
        return spared
    with system.client.pace.using(lane_of(delivery.kind), delivery.legal_entity):
        result = _attempt(system, delivery, body, external_id)
    gate.heard(result)
    return result


def _attempt(system: System, delivery: Delivery, body: dict[str, Any], external_id: str | None) -> Result:
    """Make one attempt. After silence, look first: a timeout never becomes a second document."""
    began = time.monotonic()

    def result(outcome: deliveries.Outcome, action: Any, **more: Any) -> Result:
        return Result(
            delivery.key, delivery.fence, outcome, action, took_ms=int((time.monotonic() - began) * 1000), **more
        )

    action = "send"
    wait = _back_off(delivery.attempts)
    try:
        met_silence = delivery.state in ("unknown", "sending")
        if met_silence and delivery.dedupe == "D":
            return result(
                "parked", "find", detail="nobody can tell whether it landed; a person has to look", code="silence"
            )
        if met_silence and delivery.dedupe in ("B", "C") and external_id is None:
            action = "find"
            found = system.client.find(delivery.object, delivery.gid)
            if found is not None:
                return result("confirmed", "find", external_id=found.external_id, detail="it had landed")
            if delivery.attempts < 3:  # a write can land late: look twice before sending again
                return result("unknown", "find", detail="not there (yet)", wait=LOOK_TWICE_SECONDS)
        action = "send"
        receipt = send(system.client, delivery.object, delivery.gid, body, external_id)
    except Busy as away:
        state: deliveries.Outcome = "due" if action == "send" and delivery.state == "due" else "unknown"
        return result(state, action, detail=str(away), wait=max(wait, away.retry_after or 0.0))
    except Unsettled as silence:
        return result("unknown", action, detail=str(silence), wait=min(wait, LOOK_TWICE_SECONDS))
    except Refused as no:
        return result("rejected", action, detail=str(no), code=no.code)
    except Broken as missing:
        return result("parked", action, detail=str(missing), code="configuration")
    except Exception as fault:  # a fault of the connector: keep the delivery for a person, never lose or repeat it
        return result("parked", action, detail=f"{type(fault).__name__}: {str(fault)[:300]}", code="fault")
    return result("confirmed", action, external_id=receipt.external_id)


def _settle(tx: Tx, house: House, system: System, claimed: Sequence[Delivery], results: Sequence[Result]) -> None:
    """Write the outcomes; what is confirmed enters the crosswalk with the fingerprint of what we wrote."""
    ours = deliveries.settle(tx, results)
    by_key = {delivery.key: delivery for delivery in claimed}
    fingerprints = {
        row["key"]: row["body_digest"]
        for row in tx.rows("select key, body_digest from deliveries where key = any(%s)", (sorted(ours),))
    }
    confirmed = [r for r in results if r.outcome == "confirmed" and r.key in ours and r.external_id]
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


def _back_off(attempts: int) -> float:
    return BACK_OFF[min(attempts, len(BACK_OFF) - 1)]
