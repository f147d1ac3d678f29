"""Closing a month: the checklist of a legal entity's month, walked in order, and the month frozen under a hash.

Starts on   a person, in his or her own name: the command line, the API, a page
Held by     findings the legal entity calls blockers, and those nothing can be closed over, until a person accepts them
Ends with   a snapshot and its hash; nothing is billed, booked or posted into the month any more
Undo        reopening, by two people; the old snapshot is kept and closing again shows what differs
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from trueup import engine
from trueup.kernel.errors import Broken, Held, Trouble
from trueup.kernel.periods import first_day
from trueup.kernel.strict_json import digest, plain
from trueup.pipeline.house import House
from trueup.pipeline.reconcile import tie_out
from trueup.processes import month_end
from trueup.store import acts, changes, closing, numbers, periods, tie_outs
from trueup.store.changes import Event
from trueup.store.database import Tx
from trueup.store.periods import Item

ITEMS = (
    "unapproved", "holds", "unbilled", "drafts", "tie_out", "accruals", "revenue", "journals", "numbers", "margin",
    "snapshot",
)  # fmt: skip
"""The checklist, in order."""


WORKING = ("ENQUEUED", "PENDING", "DELAYED")


@engine.process
def period_close(work: engine.Work, period: str, entity: str, revision: str, attempt: str, by: str) -> Any:
    """Walk the checklist and freeze the month; ends early, without booking anything, when something blocks it."""
    for look in (look_at_unapproved, look_at_holds, look_at_unbilled, look_at_drafts, look_at_tie_out):
        work.step(look, period, entity, revision, attempt)
    if work.step(stop_when_blocked, period, entity, revision):
        return {"state": "open"}
    for look in (book_revenue, look_at_accruals, look_at_journals, look_at_numbers, look_at_margin):
        work.step(look, period, entity, revision, attempt)
    if work.step(stop_when_blocked, period, entity, revision):
        return {"state": "open"}
    return work.step(freeze, period, entity, revision, attempt, by)


def start(tx: Tx, entity: str, period: str, by: str) -> str | None:
    """Begin to close a month, or go on with what was begun; returns the process, or None when it is closed already.

    by  who closes: kept with the month

    Raises    Held CLOSE_ORDER when an earlier month is not finished.
    """
    first_day(period)
    periods.one_at_a_time(tx, entity, period)
    found = periods.latest(tx, entity, period, lock=True)
    if found is not None and found["state"] == "closed":
        return None
    if found is not None and found["state"] == "closing":
        running = engine.one(tx, found["process"])
        if running is not None and (running["status"] in WORKING or engine.restart(tx, found["process"])):
            return str(found["process"])  # a step that failed is tried again, those before it are not done twice
        periods.stop(tx, entity, period, found["revision"])
    earlier = periods.earlier_unfinished(tx, entity, period)
    if earlier is not None:
        raise Held(f"{earlier} is not closed yet for {entity}; months close in order", "CLOSE_ORDER")
    begun = periods.begin(tx, entity, period, by)
    key = str(begun["process"]).partition("/")[2]
    return engine.start(tx, "period_close", key, period, entity, str(begun["revision"]), str(begun["attempt"]), by)


def preview(house: House, entity: str, period: str) -> list[dict[str, Any]]:
    """Walk the checklist as it stands now: compares nothing afresh, books nothing, writes nothing."""
    first_day(period)
    with house.database.transaction() as tx:
        tx.run("set transaction isolation level repeatable read read only")
        revenue = (
            Item("revenue", 0, "done", "The month's revenue was booked.")
            if closing.has_positions(tx, entity, period)
            else Item("revenue", 0, "open", "The month's revenue is not booked yet: closing books it.")
        )
        tied = closing.last_tie_out(tx)
        found = [
            _unapproved(tx, entity, period),
            _holds(tx, entity, period),
            _unbilled(tx, entity, period),
            _drafts(tx, entity, period),
            Item("tie_out", 0, "open", "The systems were never compared; closing compares them.")
            if tied is None
            else _tied(tx, entity, period, tied),
            _accruals(tx, entity, period),
            revenue,
            _journals(tx, entity, period),
            _numbers(tx, house, entity),
            _margin(tx, entity, period),
        ]
        shot = closing.snapshot(tx, entity, period)
    sentence = "What the month holds now has this hash; nothing was frozen."
    found.append(Item("snapshot", 0, "open", sentence, {"sha256": digest(shot)}))
    return [
        {"item": one.item, "position": place, "state": one.state, "sentence": one.sentence, "figures": one.figures}
        for place, one in enumerate((_judged(house, entity, item) for item in found), start=1)
    ]


# --- steps -----------------------------------------------------------------------------------------------------------


def _looked(
    house: House, period: str, entity: str, revision: str, attempt: str, look: Callable[[Tx], Item]
) -> dict[str, Any]:
    """Look at one item and write down what was found: one transaction, the same however often."""
    with house.database.transaction() as tx:
        return _write(tx, house, period, entity, revision, attempt, look(tx))


def _write(tx: Tx, house: House, period: str, entity: str, revision: str, attempt: str, item: Item) -> dict[str, Any]:
    judged = _judged(house, entity, item)
    state = periods.write_item(tx, entity, period, int(revision), int(attempt), judged)
    return {"item": judged.item, "state": state, "sentence": judged.sentence}


def _judged(house: House, entity: str, item: Item) -> Item:
    """Give an item its place, its mark, and its weight: a finding blocks where the legal entity says so."""
    must = item.state == "open" and item.item in house.firm.entities[entity].close_blocks
    figures = plain(dict(item.figures))
    mark = digest({"item": item.item, "sentence": item.sentence, "figures": figures})
    state = "blocked" if must else item.state
    return Item(item.item, ITEMS.index(item.item) + 1, state, item.sentence, figures, mark)


def look_at_unapproved(house: House, period: str, entity: str, revision: str, attempt: str) -> dict[str, Any]:
    """Look for time and expenses of the month that nobody has approved."""
    return _looked(house, period, entity, revision, attempt, lambda tx: _unapproved(tx, entity, period))


def _unapproved(tx: Tx, entity: str, period: str) -> Item:
    found = closing.unapproved(tx, entity, period)
    if not found["time"] and not found["expenses"]:
        return Item("unapproved", 0, "passed", "All time and all expenses of the month are approved.", found)
    who = ", ".join(row["approver"] for row in found["by_approver"])
    sentence = (
        f"{_count(found['time'], 'time entry', 'time entries')} and {_count(found['expenses'], 'expense', 'expenses')} "
        f"are not approved{_worth(found['value'])}; it is up to {who}."
    )
    return Item("unapproved", 0, "open", sentence, found)


def look_at_holds(house: House, period: str, entity: str, revision: str, attempt: str) -> dict[str, Any]:
    """Look for what may not be billed yet."""
    return _looked(house, period, entity, revision, attempt, lambda tx: _holds(tx, entity, period))


def _holds(tx: Tx, entity: str, period: str) -> Item:
    found = closing.held(tx, entity, period)
    if not found["count"]:
        return Item("holds", 0, "passed", "Nothing is held.", found)
    codes = ", ".join(sorted({row["code"] for row in found["by_code"]}))
    return Item(
        "holds",
        0,
        "open",
        f"{_count(found['count'], 'hold is', 'holds are')} open{_worth(found['value'])}: {codes}.",
        found,
    )


def look_at_unbilled(house: House, period: str, entity: str, revision: str, attempt: str) -> dict[str, Any]:
    """Look for approved work that stands on no document."""
    return _looked(house, period, entity, revision, attempt, lambda tx: _unbilled(tx, entity, period))


def _unbilled(tx: Tx, entity: str, period: str) -> Item:
    found = closing.unbilled(tx, entity, period)
    if not found["count"]:
        return Item("unbilled", 0, "passed", "Everything billable that is approved stands on a document.", found)
    hours = f"{Decimal(found['minutes']) / 60:,.2f} hours"
    sentence = (
        f"{_count(found['count'], 'approved record is', 'approved records are')} on no document: {hours} of work"
        f"{' and expenses' + _worth(found['expenses']) if found['expenses'] else ''}."
    )
    return Item("unbilled", 0, "open", sentence, found)


def look_at_drafts(house: House, period: str, entity: str, revision: str, attempt: str) -> dict[str, Any]:
    """Look for drafts the ERP has not posted."""
    return _looked(house, period, entity, revision, attempt, lambda tx: _drafts(tx, entity, period))


def _drafts(tx: Tx, entity: str, period: str) -> Item:
    found = closing.drafts(tx, entity, period)
    if not found["count"]:
        return Item("drafts", 0, "passed", "Every draft is posted.", found)
    sentence = (
        f"{_count(found['count'], 'draft is', 'drafts are')} not posted{_worth(found['net'])}: post them in the ERP."
    )
    return Item("drafts", 0, "open", sentence, found)


def look_at_tie_out(house: House, period: str, entity: str, revision: str, attempt: str) -> dict[str, Any]:
    """Compare the systems, unless that was done after the last message; a system that is away blocks the month."""
    with house.database.transaction() as tx:
        last = closing.last_tie_out(tx)
    trouble = ""
    if last is None or last["late"]:
        try:
            tie_out(house, f"{period}/{entity}/close/{revision}.{attempt}")
        except Broken:
            raise
        except Trouble as away:
            trouble = str(away)
    with house.database.transaction() as tx:
        if trouble:
            sentence = f"The systems could not be compared: {trouble}. Close again when they answer."
            return _write(tx, house, period, entity, revision, attempt, Item("tie_out", 0, "blocked", sentence))
        now = closing.last_tie_out(tx)
        assert now is not None
        return _write(tx, house, period, entity, revision, attempt, _tied(tx, entity, period, now))


def _tied(tx: Tx, entity: str, period: str, run: Mapping[str, Any]) -> Item:
    found = closing.breaks(tx, entity, period)
    if not found["count"]:
        accepted = sum(1 for one in tie_outs.open_breaks(tx, entity, period) if one["accepted_by"])
        agree = f"The systems agree on the month; {run['compared']:,} records were compared"
        if accepted:
            agree += f", {_count(accepted, 'difference is', 'differences are')} accepted"
        signed = tie_outs.standing(tx, entity, period)
        if signed and signed["signed_by"]:
            agree += f"; {signed['prepared_by']} prepared and {signed['signed_by']} signed it"
        return Item("tie_out", 0, "passed", f"{agree}.")
    sentence = f"{_count(found['count'], 'break is', 'breaks are')} open in the month{_worth(found['value'])}."
    return Item("tie_out", 0, "open", sentence, found)


def stop_when_blocked(house: House, period: str, entity: str, revision: str) -> bool:
    """End this attempt when an item blocks it; a person accepts the finding or removes its cause, and closes again."""
    with house.database.transaction() as tx:
        blocked = any(row["state"] == "blocked" for row in periods.items(tx, entity, period, int(revision)))
        if blocked:
            periods.stop(tx, entity, period, int(revision))
        return blocked


def book_revenue(house: House, period: str, entity: str, revision: str, attempt: str) -> dict[str, Any]:
    """Book the month's revenue, cost and margin: once, and once more by what changed for each time it was reopened."""
    again = "" if revision == "1" else f"/{revision}"
    try:
        done = month_end.close(house, period, entity, f"month_end/{period}/{entity}{again}", int(revision))
        problems = list(done.get("problems", ()))
        said = (
            "The month's revenue was booked before."
            if "already" in done
            else f"Revenue and cost were booked: {_count(len(done['journals']), 'journal', 'journals')}."
        )
        item = Item("revenue", 0, "open" if problems else "done", " ".join([said, *problems]), {"problems": problems})
    except Held as waits:
        item = Item("revenue", 0, "blocked", f"The month's revenue could not be booked: {waits}.")
    return _looked(house, period, entity, revision, attempt, lambda tx: item)


def look_at_accruals(house: House, period: str, entity: str, revision: str, attempt: str) -> dict[str, Any]:
    """Read what is earned and not billed, and billed and not earned, at the month's end."""
    return _looked(house, period, entity, revision, attempt, lambda tx: _accruals(tx, entity, period))


def _accruals(tx: Tx, entity: str, period: str) -> Item:
    found = closing.accruals(tx, entity, period)
    parts = [
        f"{_sum(found[name])} {word}"
        for name, word in (("unbilled", "earned and not billed"), ("deferred", "billed and not earned"))
        if any(Decimal(one["amount"]) for one in found[name])
    ]
    sentence = " and ".join(parts) if parts else "nothing is earned and not billed, or billed and not earned"
    return Item("accruals", 0, "done", f"{sentence[:1].upper()}{sentence[1:]}.", found)


def look_at_journals(house: House, period: str, entity: str, revision: str, attempt: str) -> dict[str, Any]:
    """Look at the month's journals: each balances, and the ERP has it or is asked for it."""
    return _looked(house, period, entity, revision, attempt, lambda tx: _journals(tx, entity, period))


def _journals(tx: Tx, entity: str, period: str) -> Item:
    found = closing.journals(tx, entity, period)
    crooked = [row["code"] for row in found["journals"] if not row["balanced"]]
    refused = [f"{row['code']}: {row['refused']}" for row in found["journals"] if row["refused"]]
    if crooked:
        sentence = f"Debits and credits differ: {', '.join(crooked)}. This is a fault; a month is not closed over it."
        return Item("journals", 0, "blocked", sentence, found)
    if refused:
        return Item("journals", 0, "open", f"The ERP refused {'; '.join(refused)}", found)
    waiting = sum(row["status"] == "expected" for row in found["journals"])
    rest = f"; the ERP has still to confirm {waiting}" if waiting else ""
    return Item("journals", 0, "passed", f"{_count(found['count'], 'journal', 'journals')}, balanced{rest}.", found)


def look_at_numbers(house: House, period: str, entity: str, revision: str, attempt: str) -> dict[str, Any]:
    """Look for gaps in the entity's document numbers."""
    return _looked(house, period, entity, revision, attempt, lambda tx: _numbers(tx, house, entity))


def _numbers(tx: Tx, house: House, entity: str) -> Item:
    if house.firm.entities[entity].numbering is None:
        return Item("numbers", 0, "passed", "The ERP gives the numbers; `trueup numbers` shows those the hub holds.")
    series = [one for one in numbers.report(tx, entity) if one.owner == "hub"]
    broken = [one.prefix for one in series if not one.whole]
    if broken:
        sentence = f"Numbers are missing or out of order in {', '.join(broken)}: see `trueup numbers`."
        return Item("numbers", 0, "blocked", sentence, {"series": [numbers.as_row(one) for one in series]})
    figures = {"series": len(series), "documents": sum(one.count for one in series)}
    return Item("numbers", 0, "passed", f"{_count(figures['documents'], 'number', 'numbers')}, no gap.", figures)


def look_at_margin(house: House, period: str, entity: str, revision: str, attempt: str) -> dict[str, Any]:
    """Read what the month added to each project, as it goes into the snapshot."""
    return _looked(house, period, entity, revision, attempt, lambda tx: _margin(tx, entity, period))


def _margin(tx: Tx, entity: str, period: str) -> Item:
    found = closing.margin(tx, entity, period)
    sentence = (
        f"Margin of {_count(found['projects'], 'project', 'projects')}{_worth(found['recognised'], ' on revenue of ')}."
    )
    return Item("margin", 0, "done", sentence, found)


def freeze(house: House, period: str, entity: str, revision: str, attempt: str, by: str) -> dict[str, Any]:
    """Freeze the month: nobody books into it while its snapshot is taken, and nobody can after it."""
    with house.database.transaction() as tx:
        periods.alone(tx, entity, period)
        # In a transaction of its own, begun after the last one that booked has ended: one moment for every figure.
        with house.database.transaction() as reading:
            reading.run("set transaction isolation level repeatable read read only")
            shot = closing.snapshot(reading, entity, period)
        sha256 = digest(shot)
        periods.freeze(tx, entity, period, int(revision), shot, sha256, by)
        acts.happened(tx, "month_closed", (period, entity), house.edition, entity=entity)
        item = Item("snapshot", 0, "done", f"Frozen under SHA-256 {sha256}.", {"sha256": sha256})
        _write(tx, house, period, entity, revision, attempt, item)
        data = {"code": period, "status": "closed", "reason": sha256, "count": int(revision)}
        key = f"period.closed/{period}/{entity}/{revision}"
        house.react(tx, changes.tell(tx, [Event(key, "period.closed", entity, "legal_entity", data)]))
    return {"state": "closed", "revision": int(revision), "sha256": sha256}


# --- decisions of a person -------------------------------------------------------------------------------------------


def accept(tx: Tx, entity: str, period: str, item: str, by: str, reason: str) -> dict[str, Any]:
    """Accept a finding in a person's name; it is good as long as the same is found.

    Raises    Held: no such finding, or no reason.
    """
    if len(reason.strip()) < periods.SHORTEST_REASON:
        raise Held("a reason of at least five characters is needed to accept a finding", "REASON_MISSING")
    if item not in ITEMS:
        raise Held(f"there is no item {item}; there are {', '.join(ITEMS)}", "UNKNOWN_ITEM")
    found = periods.accept(tx, entity, period, item, by, reason.strip())
    if found is None:
        raise Held(f"{item} has no finding of {period} to accept for {entity}: close the month first", "NOTHING_FOUND")
    return found


def reopen(tx: Tx, house: House, number: int, by: str) -> dict[str, Any]:
    """Reopen the month of a proposal, as its second person, and tell it."""
    done = periods.approve(tx, number, by)
    acts.happened(
        tx, "month_reopened", (done["period"], done["legal_entity"]), house.edition, entity=done["legal_entity"]
    )
    data = {"code": done["period"], "status": "open", "reason": done["reason"], "count": done["next_revision"]}
    key = f"period.reopened/{done['period']}/{done['legal_entity']}/{done['revision']}"
    house.react(tx, changes.tell(tx, [Event(key, "period.reopened", done["legal_entity"], "legal_entity", data)]))
    return done


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _sum(amounts: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(f"{one['amount']} {one['currency']}" for one in amounts)


def _worth(amounts: Sequence[Mapping[str, Any]], before: str = ", worth ") -> str:
    return before + _sum(amounts) if amounts else ""
