"""The pages of agreement: /compare, a break with its repair, and a month's sign-off; they work without scripts."""

from collections.abc import Callable
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Form, HTTPException, Path, Query
from fastapi.responses import RedirectResponse, Response

from trueup.entrypoints.web.rendering import show, show_bare, titles
from trueup.entrypoints.web.spreadsheet import spreadsheet
from trueup.entrypoints.web.visitor import Acting, Desk, Money, own_form
from trueup.kernel.errors import Held, Trouble
from trueup.processes import reconciliation, repairs
from trueup.reporting import compare
from trueup.reporting.compare import Filter
from trueup.store import tie_outs
from trueup.store.database import Tx

router = APIRouter()
Number = Annotated[int, Path(ge=1, le=2**62)]
Month = Annotated[str, Form(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])$")]
Entity = Annotated[str, Form(max_length=12)]
Reason = Annotated[str, Form(min_length=5, max_length=400)]
Words = Annotated[str, Form(max_length=400)]
OURS = [Depends(own_form)]
CSV = {"breaks": "breaks", "deals": "deals", "sums": "tie_outs", "months": "months"}
"""Name of a file -> the list of the page it holds."""


@router.get("/compare")
def compare_page(
    desk: Money,
    entity: Annotated[str, Query(max_length=12)] = "",
    period: Annotated[str, Query(max_length=7)] = "",
    cls: Annotated[str, Query(alias="class", max_length=30)] = "",
    system: Annotated[str, Query(max_length=60)] = "",
    state: Annotated[str, Query(max_length=10)] = "",
    csv: Annotated[str, Query(max_length=20)] = "",
) -> Response:
    """Show the systems side by side, what differs first."""
    named = titles(desk.house)
    by_role = {role: [named[one.name] for one in desk.house.with_role(role)] for role in ("crm", "psa", "erp")}
    chosen = Filter(entity, period, cls, system, state)
    with desk.reading() as tx:
        page = compare.compare(tx, cost=desk.can("cost:read"), chosen=chosen)
        if csv:
            name = csv if csv in CSV else "deals"
            return spreadsheet(name, getattr(page, CSV[name]))
        words = {"entity": entity, "period": period, "class": cls, "system": system, "state": state}
        return show(
            desk,
            tx,
            "compare.html",
            here="compare",
            title="Compare",
            cli="trueup reconcile",
            page=page,
            choices=compare.choices(tx),
            chosen=chosen,
            asked=urlencode({name: value for name, value in words.items() if value}),
            differing=sum(bool(row.differences) for row in page.deals),
            names={role: ", ".join(found) or role.upper() for role, found in by_role.items()},
        )


@router.get("/compare/breaks/{number}")
def break_page(desk: Money, number: Number) -> Response:
    """Show one break: both words, what was done about it, and what would end it."""
    with desk.reading() as tx:
        one = compare.one_break(tx, number)
        if one is None:
            raise HTTPException(404, f"There is no break {number}.")
        repair, trouble = None, ""
        if one.closed_at is None:
            try:
                repair = repairs.repair(tx, desk.house, number)
            except Trouble as no:
                trouble = str(no)
        return show(
            desk,
            tx,
            "break.html",
            here="compare",
            title=f"Break {number}",
            cli=f"trueup break show {number}",
            it=one,
            notes=tie_outs.notes(tx, number),
            repair=repair,
            trouble=trouble,
        )


@router.post("/compare/breaks/{number}/assign", dependencies=OURS)
def assign(desk: Acting, number: Number, assignee: Annotated[str, Form(max_length=80)] = "") -> Response:
    """Give a break to somebody."""
    place = f"/compare/breaks/{number}"
    return _decide(
        desk, place, "assigned", lambda tx: reconciliation.assign(tx, number, assignee.strip(), desk.visitor.name)
    )


@router.post("/compare/breaks/{number}/note", dependencies=OURS)
def note(desk: Acting, number: Number, words: Words = "") -> Response:
    """Keep what somebody found out."""
    place = f"/compare/breaks/{number}"
    return _decide(desk, place, "noted", lambda tx: reconciliation.note(tx, number, desk.visitor.name, words.strip()))


@router.post("/compare/breaks/{number}/accept", dependencies=OURS)
def accept(desk: Acting, number: Number, reason: Reason) -> Response:
    """Accept a difference, with name and reason."""
    place = f"/compare/breaks/{number}"
    return _decide(
        desk, place, "accepted_break", lambda tx: reconciliation.accept(tx, number, desk.visitor.name, reason)
    )


@router.post("/compare/breaks/{number}/repair", dependencies=OURS)
def repair(desk: Acting, number: Number, digest: Annotated[str, Form(max_length=64)]) -> Response:
    """Do what the page showed, or stop when it is another repair by now."""
    place = f"/compare/breaks/{number}"
    try:
        repairs.apply(desk.house, number, digest, desk.visitor.name)
    except Trouble as no:
        return _no(str(no), place, "That was not done")
    return RedirectResponse(f"{place}?{urlencode({'done': 'repairing'})}", 303)


@router.post("/compare/sign-off/{what}", dependencies=OURS)
def sign_off(
    desk: Acting,
    what: Annotated[str, Path(pattern="^(prepare|sign|reopen)$")],
    entity: Entity,
    period: Month,
    reason: Words = "",
) -> Response:
    """Prepare a month, sign what another person prepared, or take a signature back."""
    by = desk.visitor.name
    acts: dict[str, Callable[[Tx], object]] = {
        "prepare": lambda tx: reconciliation.prepare(tx, entity, period, by),
        "sign": lambda tx: reconciliation.sign(tx, entity, period, by),
        "reopen": lambda tx: reconciliation.reopen(tx, entity, period, by, reason),
    }
    done = {"prepare": "prepared", "sign": "signed", "reopen": "unsigned"}[what]
    place = f"/compare?{urlencode({'entity': entity, 'period': period})}"
    return _decide(desk, place, done, acts[what])


def _decide(desk: Desk, place: str, done: str, act: Callable[[Tx], object]) -> Response:
    """Do what a person decided and go back; what does not fit is said on a page of its own."""
    try:
        with desk.house.database.transaction() as tx:
            act(tx)
    except Held as waits:
        title = "Another person has to do this" if waits.code == "ANOTHER_PERSON" else "That does not fit"
        return _no(str(waits), place, title)
    return RedirectResponse(f"{place}{'&' if '?' in place else '?'}{urlencode({'done': done})}", 303)


def _no(sentence: str, place: str, title: str) -> Response:
    return show_bare(
        "problem.html",
        title=title,
        status=409,
        sentence=f"{sentence[:1].upper()}{sentence[1:]}.",
        advice="Nothing was changed.",
        href=place,
        label="Back",
    )
