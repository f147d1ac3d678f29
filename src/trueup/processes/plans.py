"""Plan, then apply: one way for replays, retries and edits.

A plan is made by doing the work and taking it back (replay), or by reading the effect ledger (retry); it is kept with a
hash of what it said. Applying is a durable process: it does the same again in batches, compares each batch with what the
plan said before it is committed, and stops at the first difference with nothing of that batch done. What a delivery is
sent with is throttled where all deliveries are, by the account's budget: a retry only opens them.

Starts on   a person who applies a plan
Held by     a second person, where it moves money or edits what a system has said
Ends with   the plan applied, or stopped at a difference, by a person or by a fault
Undo        none of its own: what it changed was said before, and another plan changes it again
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

from trueup import engine
from trueup.kernel.errors import Held, Refused
from trueup.kernel.money import from_units
from trueup.kernel.strict_json import write
from trueup.pipeline import replay
from trueup.pipeline.house import House
from trueup.store import deliveries, inbox, issues
from trueup.store import plans as kept
from trueup.store.database import Tx
from trueup.store.plans import Choice, Does, Item, Verb

BATCH = 1000
MINUTES = 15
"""How long a plan can be applied after it was made."""

ON_ITS_WAY = {
    "planned": "it is on its way already",
    "due": "it is on its way already",
    "sending": "it is on its way already",
    "confirmed": "the system has it: it is not sent twice",
    "superseded": "a newer command took its place",
}


class _Differs(Exception):
    """Ends a batch that would do something else than the plan said: nothing of it stays."""


def propose(
    house: House, verb: Verb, choice: Choice, *, by: str, reason: str, minutes: int = MINUTES
) -> dict[str, Any]:
    """Work out what a replay, retry or edit would do to the chosen records, keep it as a plan, and do nothing.

    Returns   the plan as `look` gives it
    Raises    Refused (reason, nothing_chosen, too_many, no_issue, no_record; see `replay.edited` for those of an edit)
    """
    if len(reason.strip()) < 5:
        raise Refused("say why, in five characters or more", "reason")
    if choice.empty:
        raise Refused(
            "choose records: an issue, records, a system, an object, a time span or a customer", "nothing_chosen"
        )
    if (verb == "edit") != bool(choice.changes) or (verb == "edit" and len(choice.records) != 1):
        raise Refused("an edit changes fields of one record: name the record and the fields", "one_record")
    with house.database.transaction() as tx:
        if choice.issue:
            issues.one(tx, choice.issue)
        missing = kept.unknown(tx, verb, choice.records)
        if missing:
            what = "write" if verb == "retry" else "message"
            raise Refused(f"there is no {what} {', '.join(missing[:3])}{' ...' if missing[3:] else ''}", "no_record")
        numbers = kept.chosen_messages(tx, choice) if verb != "retry" else []
        keys = kept.chosen_deliveries(tx, choice) if verb == "retry" else []
        items, money, seconds = _retry(tx, keys) if verb == "retry" else ([], {}, None)
    if verb != "retry" and numbers:
        items, money, seconds = replay.trial(house, numbers, choice.changes)
    counts = Counter(str(item.does) for item in items)
    digest = hashlib.sha256(write([verb, [[item.record, item.does, item.expects] for item in items]])).hexdigest()
    with house.database.transaction() as tx:
        number = kept.keep(
            tx, verb=verb, choice=choice, reason=reason, digest=digest, counts=counts, money=money, seconds=seconds,
            two_people=verb == "edit" or _needs_two(house, money), by=by, minutes=minutes, items=items,
        )  # fmt: skip
        if choice.issue:
            issues.note(tx, choice.issue, "planned", by, reason, {"plan": number})
        return look(tx, number)


def look(tx: Tx, number: int, *, items: int = 200) -> dict[str, Any]:
    """Return a plan with its first records, what it does before what it leaves alone.

    Raises    Refused (no_plan)
    """
    found = kept.one(tx, number)
    found["amounts"] = {currency: from_units(units, currency) for currency, units in sorted(found["money"].items())}
    found["acts_on"] = sum(found["counts"].get(does, 0) for does in ("create", "update", "settle"))
    found["items"] = kept.items(tx, number, items)
    return found


def start(house: House, number: int, *, by: str, digest: str | None = None) -> dict[str, Any]:
    """Begin to do what a plan said, or go on where a fault cut it off; workers carry it out.

    digest    of the plan the person saw; another one is refused
    Returns   the plan as `look` gives it
    Raises    Refused (no_plan, expired, another_plan, ended), Held (SECOND_PERSON)
    """
    with house.database.transaction() as tx:
        plan = kept.one(tx, number, lock=True)
        if digest is not None and digest != plan["digest"]:
            raise Refused(f"plan {number} is not the one you looked at: look again", "another_plan")
        if plan["state"] in ("applied", "stopped"):
            raise Refused(f"plan {number} is {plan['state']} already: make a new one", "ended")
        if plan["expired"]:
            raise Refused(f"plan {number} has expired: make a new one, things may have changed", "expired")
        if plan["state"] == "proposed":
            if plan["two_people"] and plan["proposed_by"] == by:
                why = "edits what a system has said" if plan["verb"] == "edit" else "moves money"
                raise Held(f"plan {number} {why}: somebody other than {by} applies it", "SECOND_PERSON")
            kept.begin(tx, number, by)
        process = engine.start(tx, "plan_run", str(number), str(number))
        engine.restart(tx, process)  # where a fault ended it: batches that are done are not done twice
        return look(tx, number)


def cancel(house: House, number: int, *, by: str, reason: str) -> dict[str, Any]:
    """Stop a plan that is being applied: what is done stays done, nothing more is begun.

    Raises    Refused (no_plan, reason, not_applying)
    """
    if len(reason.strip()) < 5:
        raise Refused("say why, in five characters or more", "reason")
    with house.database.transaction() as tx:
        if kept.one(tx, number, lock=True)["state"] != "applying":
            raise Refused(f"plan {number} is not being applied", "not_applying")
        kept.end(tx, number, f"{by}: {reason.strip()}")
        return look(tx, number)


@engine.process
def plan_run(work: engine.Work, number: str) -> Any:
    """Do a plan's batches, each a remembered step, until nothing is left or one differs."""
    while work.step(next_batch, number):
        pass
    return work.step(finish, number)


def next_batch(house: House, number: str) -> bool:
    """Do a plan's next batch; False when nothing is left, or when it would do something else than the plan said."""
    try:
        return _batch(house, int(number))
    except _Differs as other:
        with house.database.transaction() as tx:
            kept.end(tx, int(number), str(other))
        return False


def finish(house: House, number: str) -> dict[str, Any]:
    """Note with the issue how its plan ended; return state and records done."""
    with house.database.transaction() as tx:
        ended = look(tx, int(number))
        if ended["issue"]:
            issues.note(
                tx, ended["issue"], "applied", ended["applied_by"], ended["stopped_by"] or "",
                {"plan": int(number), "done": ended["done"]},
            )  # fmt: skip
        return {"state": ended["state"], "done": ended["done"]}


def _batch(house: House, number: int) -> bool:
    """Do the next batch of a plan in one transaction; False when nothing is left."""
    with house.database.transaction() as tx:
        plan = kept.one(tx, number, lock=True)
        if plan["state"] != "applying":
            return False
        rows = kept.next_items(tx, number, BATCH)
        if not rows:
            kept.end(tx, number)
            return False
        records = [row["record"] for row in rows]
        if plan["verb"] == "replay":
            done = replay.again(tx, house, [int(record) for record in records])
        elif plan["verb"] == "edit":
            done = _edit(tx, house, plan, int(records[0]))
        else:
            done = _items(kept.standing(tx, records, lock=True), records)
            deliveries.resend(tx, records)
        _compare(rows, done)
        kept.mark(tx, number, [row["position"] for row in rows])
        return True


def _edit(tx: Tx, house: House, plan: dict[str, Any], record: int) -> list[Item]:
    """Judge a record as the plan's changes make it, and write down who made them.

    Raises    _Differs where the record is no longer one they fit
    """
    try:
        done, copy, told = replay.edited(tx, house, record, plan["choice"]["changes"])
    except Refused as no:
        raise _Differs(str(no)) from no
    if copy is not None:
        inbox.note_edit(
            tx, copy, record, plan["number"], told, reason=plan["reason"], by=plan["proposed_by"],
            agreed_by=plan["applied_by"],
        )  # fmt: skip
    return done


def _compare(rows: Sequence[dict[str, Any]], done: Sequence[Item]) -> None:
    """Hold what was just done against what the plan said.

    Raises    _Differs at the first record that is another
    """
    found = {item.record: item for item in done}
    for row in rows:
        item = found.get(row["record"])
        if item is None:
            raise _Differs(f"{row['record']} is no longer there")
        if (item.does, item.expects) != (row["does"], row["expects"]):
            raise _Differs(
                f"{row['record']} would now be: {item.does.replace('_', '-')} ({item.why}); it has changed since"
            )


def _retry(tx: Tx, keys: Sequence[str]) -> tuple[list[Item], dict[str, int], float | None]:
    """Return what sending again would do, its money by currency in units, and the seconds at the systems' own pace."""
    standing = kept.standing(tx, keys)
    items = _items(standing, keys)
    money: Counter[str] = Counter()
    load: Counter[str] = Counter()
    for item in items:
        row = standing[item.record]
        if item.does in ("create", "update"):
            load[row["system"]] += 1
            if row["amount"] and row["currency"]:
                money[row["currency"]] += abs(row["amount"])
    paces = {system: kept.pace(tx, system) for system in load}
    measured = [count * pace for system, count in load.items() if (pace := paces[system]) is not None]
    return items, dict(money), max(measured) if measured and len(measured) == len(load) else None


def _items(standing: dict[str, dict[str, Any]], keys: Sequence[str]) -> list[Item]:
    items = []
    for key in keys:
        row = standing.get(key)
        if row is None:
            continue
        does: Does
        if row["state"] in ON_ITS_WAY:
            does, why = "no_op", ON_ITS_WAY[row["state"]]
        elif row["state"] not in ("rejected", "parked"):
            does, why = "blocked", "it may have landed: it is looked for first, and goes on by itself"
        elif row["open_dependencies"]:
            does, why = "blocked", f"waits for {row['open_dependencies']} others that must be confirmed first"
        else:
            does = "update" if row["external_id"] else "create"
            why = f"sent again under its key; last answer: {row['cause'] or row['code'] or row['state']}"
        expects = hashlib.sha256(
            write([row["state"], row["attempts"], row["fence"], row["amount"], row["currency"], row["external_id"]])
        ).hexdigest()
        items.append(Item(key, does, why, expects))
    return items


def _needs_two(house: House, money: dict[str, int]) -> bool:
    """Say whether a plan moves as much as an adjustment that a second person agrees to, by the firm's lowest limit."""
    limit = min((entity.adjustment_limit for entity in house.firm.entities.values()), default=None)
    return limit is not None and any(
        units and from_units(units, currency) >= limit for currency, units in money.items()
    )
