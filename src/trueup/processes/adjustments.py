"""Adjustments: a person lowers, raises, gives up or puts off a bill; above a limit a second person agrees.

Starts on   a proposal (the command line, the API, the page)
Held by     the second person, where the value is not below the legal entity's limit
Ends with   moves with reason and approver, or a change of the next bill
Undo        `undo`: the opposite moves; a bill that was made stays, and is credited
"""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, Literal

import polars as pl

from trueup.billing.run import plan_run
from trueup.kernel.clock import today
from trueup.kernel.errors import Held as Waits
from trueup.kernel.errors import Refused
from trueup.kernel.money import from_units, to_units
from trueup.kernel.periods import last_day, month_of
from trueup.kernel.strict_json import write
from trueup.pipeline.house import House
from trueup.pipeline.quantities import quantity as whole_of
from trueup.processes.facts import facts_as_new
from trueup.store import acts, adjustments, ledger, objects
from trueup.store.database import Tx
from trueup.store.ledger import Move

Kind = Literal["write_down", "write_up", "write_off", "courtesy", "postponed", "non_billable"]
KINDS: tuple[Kind, ...] = ("write_down", "write_up", "write_off", "courtesy", "postponed", "non_billable")
OPEN = ("over_cap", "held", "unbilled", "postponed")
TARGETS = {"write_off": "written_off", "non_billable": "non_billable", "postponed": "postponed"}
"""Decisions that move what is open, and where to; the others change the next bill."""
ON_THE_BILL = frozenset({"write_down", "write_up", "courtesy", "re_rate"})


@acts.looks_again
def propose(house: House, kind: Kind, gids: Sequence[str], **more: Any) -> dict[str, Any]:
    """Propose in a transaction of its own; see `propose_in`."""
    with house.database.transaction() as tx:
        look_at(tx, gids)
        return propose_in(tx, house, kind, gids, **more)


def look_at(tx: Tx, gids: Sequence[str]) -> None:
    """Let a transaction that decides about time and expenses look at one moment, alone in their legal entities."""
    projects = objects.load(
        tx, {one.body["project"] for one in objects.load(tx, gids).values() if "project" in one.body}
    )
    entities = sorted({str(project.body["legal_entity"]) for project in projects.values()})
    acts.look(tx, entities[0] if len(entities) == 1 else None)


def look_in(tx: Tx, number: int) -> None:
    """Let a transaction that decides about a proposal look at one moment, alone in its legal entity."""
    acts.look(tx, adjustments.entity_of(tx, number))


def propose_in(
    tx: Tx, house: House, kind: Kind, gids: Sequence[str], *, by: str, reason: str, amount: Decimal | None = None,
    until: date | None = None, key: str = "", limit: Decimal | None = None, month: str | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Write down a decision about open time and expenses; applies it at once where one person may.

    The transaction has begun with `look_at`.

    gids    time entries and expense lines of one legal entity
    amount  write-downs and write-ups: by how much each bill changes in all, shared by value; None for write-downs is all
    key     the same key is one decision, however often it is asked for
    limit   value from which a second person is needed; the legal entity's own when not given
    month   in which the facts are valued; this one when not given
    Returns number, state, and the value by currency
    Raises  Refused when the facts do not allow it.
    """
    if kind not in KINDS or len(reason.strip()) < 5:
        raise Refused("say what to do and why, in five characters or more", "adjustment")
    if (kind == "postponed") != (until is not None) or (kind == "write_up" and not amount):
        raise Refused("a postponement needs the day it ends, a write-up an amount", "adjustment")
    month = month or month_of(today())
    more = {"by": by, "reason": reason, "amount": amount, "until": until, "key": key, "limit": limit, "month": month}
    acts.note(tx, "adjustment_proposed", (kind, list(gids), more), house.edition, about=gids)
    rows, entity = _rows(tx, house, kind, sorted(set(gids)), amount, month)
    most = house.firm.entities[entity].adjustment_limit if limit is None else limit
    value = {row["currency"]: 0 for row in rows}
    for row in rows:
        value[row["currency"]] += abs(row["amount"])
    two = kind != "postponed" and any(from_units(units, one) >= most for one, units in value.items())
    number = adjustments.propose(
        tx, key=key or f"{kind}/{by}/{entity}/{_next(tx)}", kind=kind, legal_entity=entity, reason=reason.strip(), by=by,
        two_people=two, facts=rows, until=until,
    )  # fmt: skip
    if number is None:
        found = tx.row("select number, state from adjustments where key = %s", (key,))
        return dict(found or {})
    state = "proposed"
    if not two:
        state = "applied"
        _decide(tx, number, by)
    return {"number": number, "state": state, "value": {c: str(from_units(u, c)) for c, u in sorted(value.items())}}


def _next(tx: Tx) -> int:
    return int(tx.value("select coalesce(max(number), 0) + 1 from adjustments"))


def _rows(
    tx: Tx, house: House, kind: Kind, gids: Sequence[str], amount: Decimal | None, month: str
) -> tuple[list[dict[str, Any]], str]:
    """Return one row a fact: what is open of it and what that is worth today."""
    held = objects.load(tx, gids)
    unknown = [gid for gid in gids if gid not in held or held[gid].kind not in ("time_entry", "expense_line")]
    if unknown or not gids:
        raise Refused(
            f"not a time entry or expense line we know: {', '.join(unknown) or 'nothing chosen'}", "adjustment"
        )
    projects = objects.load(tx, {one.body["project"] for one in held.values()})
    entities = {project.body["legal_entity"] for project in projects.values()}
    if len(entities) != 1:
        raise Refused("the facts belong to several legal entities; decide for each by itself", "adjustment")
    entity = entities.pop()
    ledger.alone(tx, entity)
    lying = ledger.balances(tx, gids)
    worth = worth_in(tx, house, entity, gids, month)
    rows = []
    for gid, fact in held.items():
        unit, whole = whole_of(fact)
        still = sum(lying[gid].get(bucket, 0) for bucket in OPEN)
        if still <= 0:
            raise Refused(f"nothing of {gid} is open; what is on a document is corrected by a credit", "adjustment")
        value = ledger.share(worth.get(gid, 0), still, whole) if whole else 0
        rows.append(
            {
                "fact": gid, "charge": "", "fact_version": fact.version, "project": fact.body["project"],
                "currency": projects[fact.body["project"]].body["currency"], "unit": unit, "quantity": still, "amount": value,
            }
        )  # fmt: skip
    _change(rows, kind, amount)
    return rows, entity


def _change(rows: list[dict[str, Any]], kind: Kind, amount: Decimal | None) -> None:
    """Turn the value of each fact into what the decision changes: cumulative shares, so that they add up."""
    total = sum(row["amount"] for row in rows)
    if kind == "courtesy" or (kind == "write_down" and amount is None):
        for row in rows:
            row["amount"] = -row["amount"]
    elif kind in ("write_down", "write_up"):
        assert amount is not None
        currencies = {row["currency"] for row in rows}
        if len(currencies) != 1 or total <= 0:
            raise Refused("an amount is shared over facts of one currency that have a value", "adjustment")
        units = to_units(abs(amount), currencies.pop())
        if kind == "write_down" and units > total:
            raise Refused("a write-down cannot be more than the facts are worth", "adjustment")
        seen = given = 0
        for row in rows:
            seen += row["amount"]
            upto = ledger.share(units, seen, total)
            row["amount"], given = (upto - given) * (-1 if kind == "write_down" else 1), upto
    elif kind == "postponed":
        for row in rows:
            row["amount"] = 0


def worth_in(tx: Tx, house: House, entity: str, gids: Sequence[str], month: str) -> dict[str, int]:
    """Return what whole facts are worth by a month's rules, in units, caps left out; held ones at what is known."""
    plan = plan_run(facts_as_new(tx, house.firm, entity, gids, month), last_day("9998-12"), month)
    found = plan.charges.group_by("fact").agg(pl.col("amount").sum())
    return dict(found.iter_rows())


@acts.looks_again
def approve(house: House, number: int, *, by: str) -> str:
    """Do it in a transaction of its own; see `approve_in`."""
    with house.database.transaction() as tx:
        look_in(tx, number)
        return approve_in(tx, house, number, by=by)


def approve_in(tx: Tx, house: House, number: int, *, by: str) -> str:
    """Apply a proposal in the name of a second person, in a transaction that began with `look_in`; returns its state.

    Raises    Held when the approver proposed it, Refused when it is decided already or unknown.
    """
    found = _found(tx, number)
    if found["two_people"] and found["proposed_by"] == by:
        raise Waits(f"{by} proposed {number}: somebody else has to approve it", "MANUAL")
    if found["state"] != "proposed":
        raise Refused(f"{number} is {found['state']} already", "adjustment")
    _note(tx, house, "adjustment_approved", found, {"by": by})
    if found["kind"] == "re_rate":
        from trueup.processes import rerating

        rerating.apply(tx, house, found, by)
        return "applied"
    _decide(tx, number, by)
    return "applied"


@acts.looks_again
def reject(house: House, number: int, *, by: str) -> str:
    """Do it in a transaction of its own; see `reject_in`."""
    with house.database.transaction() as tx:
        look_in(tx, number)
        return reject_in(tx, house, number, by=by)


def reject_in(tx: Tx, house: House, number: int, *, by: str) -> str:
    """Turn a proposal down, in a transaction that began with `look_in`; nothing moves."""
    found = _found(tx, number)
    if found["state"] != "proposed":
        raise Refused(f"{number} is decided already", "adjustment")
    _note(tx, house, "adjustment_rejected", found, {"by": by})
    adjustments.decide(tx, number, "rejected", by)
    return "rejected"


def _note(tx: Tx, house: House, kind: str, found: Mapping[str, Any], more: Mapping[str, str]) -> None:
    facts = sorted({row["fact"] for row in found["facts"]})
    acts.note(tx, kind, (found["number"], dict(more)), house.edition, entity=found["legal_entity"], about=facts)


def _found(tx: Tx, number: int) -> dict[str, Any]:
    entity = adjustments.entity_of(tx, number)
    if entity is not None:
        ledger.alone(tx, entity)
    found = adjustments.one(tx, number)
    if found is None:
        raise Refused(f"there is no adjustment {number}", "unknown")
    return found


def _decide(tx: Tx, number: int, by: str) -> None:
    """Move what the decision moves; what changes a bill waits for the next run."""
    adjustments.decide(tx, number, "applied", by)
    found = adjustments.one(tx, number)
    assert found is not None
    target = TARGETS.get(found["kind"])
    if target is None:
        return
    lying = ledger.balances(tx, [row["fact"] for row in found["facts"]])
    moves, charges = [], []
    for row in found["facts"]:
        left = row["quantity"]
        for bucket in OPEN:
            part = min(left, lying[row["fact"]].get(bucket, 0)) if bucket != target else 0
            left -= part
            moves.append(
                Move(
                    f"adjustment-{number}/{row['fact']}/{bucket}", row["fact"], row["fact_version"], row["unit"], bucket,
                    target, part, found["reason"], by, None if target == "postponed" else f"{row['fact']}/adjustment-{number}",
                )
            )  # fmt: skip
        if left and target != "postponed":
            raise Refused(f"{row['fact']} has changed since this was proposed; reject it and propose anew", "changed")
        if target != "postponed":
            charges += _given_up(tx, found, row, target)
    ledger.move(tx, moves)
    ledger.charge(tx, charges)


def _given_up(tx: Tx, found: dict[str, Any], row: dict[str, Any], bucket: str) -> list[dict[str, Any]]:
    """Return the price of what is given up and the adjustment that takes it off again: together nothing is earned."""
    fact, project = (objects.load(tx, [row[name]])[row[name]] for name in ("fact", "project"))
    time = row["unit"] == "minute"
    trace = {"rule": found["kind"], "adjustment": str(found["number"]), "charge": "", "reason": found["reason"]}
    common = {
        "fact": row["fact"], "fact_version": row["fact_version"], "project": row["project"],
        "contract": project.body["contract"], "legal_entity": found["legal_entity"], "currency": row["currency"],
        "bucket": bucket, "service_on": fact.body["worked_on" if time else "spent_on"],
        "period": str(fact.body["worked_on" if time else "spent_on"])[:7], "run": f"adjustment-{found['number']}",
        "trace": write(trace).decode(),
    }  # fmt: skip
    return [
        {**common, "key": f"{row['fact']}/adjustment-{found['number']}", "kind": "time" if time else "expense",
         "minutes": row["quantity"] if time else None, "amount": row["amount"]},
        {**common, "key": f"{row['fact']}/adjustment-{found['number']}/off", "kind": "adjustment", "amount": -row["amount"]},
    ]  # fmt: skip


@acts.looks_again
def undo(house: House, number: int, *, by: str, reason: str) -> str:
    """Do it in a transaction of its own; see `undo_in`."""
    with house.database.transaction() as tx:
        look_in(tx, number)
        return undo_in(tx, house, number, by=by, reason=reason)


def undo_in(tx: Tx, house: House, number: int, *, by: str, reason: str) -> str:
    """Take a decision back: what lies where it put it is open again, and what is on no bill yet goes on none.

    The transaction has begun with `look_in`.

    Raises    Refused when it is not applied, or a bill was changed by it: that is corrected by a credit.
    """
    found = _found(tx, number)
    if found["state"] != "applied":
        raise Refused(f"{number} is {found['state']}; only what is applied is undone", "adjustment")
    if len(reason.strip()) < 5:
        raise Refused("an undo needs a reason", "adjustment")
    _note(tx, house, "adjustment_undone", found, {"by": by, "reason": reason})
    if found["kind"] in ON_THE_BILL:
        open_rows = adjustments.waiting(tx, found["legal_entity"])
        left = sum(row["left_amount"] for row in open_rows if row["number"] == number)
        if left != sum(row["amount"] for row in found["facts"]):
            raise Refused("it stands on a bill already; credit that", "adjustment")
    else:
        _back(tx, found, by, reason)
    adjustments.undo(tx, number, by, reason.strip())
    return "undone"


def _back(tx: Tx, found: dict[str, Any], by: str, reason: str) -> None:
    target, number = TARGETS[found["kind"]], found["number"]
    lying = ledger.balances(tx, [row["fact"] for row in found["facts"]])
    moves, opened = [], []
    for row in found["facts"]:
        there = min(row["quantity"], lying[row["fact"]].get(target, 0))
        if not there:
            continue
        name = f"{row['fact']}/adjustment-{number}"
        moves.append(
            Move(
                f"adjustment-{number}/{row['fact']}/undo", row["fact"], row["fact_version"], row["unit"], target, "unbilled",
                there, reason, by, None if target == "postponed" else name,
            )
        )  # fmt: skip
        if target != "postponed":
            value = row["amount"] if there == row["quantity"] else ledger.share(row["amount"], there, row["quantity"])
            time = row["unit"] == "minute"
            kind, minutes = ("time", there) if time else ("expense", 0)
            opened.append((f"{name}/undo", name, row["fact"], kind, target, minutes, value, None, reason))
            opened.append(
                (f"{name}/off/undo", f"{name}/off", row["fact"], "adjustment", target, 0, -value, None, reason)
            )
    ledger.move(tx, moves)
    ledger.reopen(tx, opened)
