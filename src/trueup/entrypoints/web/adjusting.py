"""The pages of people's decisions about bills: /adjustments, /rerate and an invoice's /credit; they work without scripts."""

from datetime import date
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Form, HTTPException, Query
from fastapi.responses import RedirectResponse, Response

from trueup.entrypoints.web.rendering import show
from trueup.entrypoints.web.visitor import Acting, Money, own_form
from trueup.kernel.errors import Trouble
from trueup.kernel.money import from_units
from trueup.processes import adjustments, corrections, rerating
from trueup.reporting import explain
from trueup.store import adjustments as kept

router = APIRouter()
Reason = Annotated[str, Form(min_length=5, max_length=400)]
STATES = ("", "proposed", "applied", "rejected", "undone")


@router.get("/adjustments")
def adjustments_page(desk: Money, state: str = "") -> Response:
    """List decisions, each with what its reader may do."""
    with desk.reading() as tx:
        rows = kept.listed(tx, state if state in STATES[1:] else None)
        for row in rows:
            row["amounts"] = [(c, from_units(units, c)) for c, units in sorted(row["amounts"].items())]
        return show(
            desk, tx, "adjustments.html", here="billing", title="Adjustments", cli="trueup bill adjustments", rows=rows,
            state=state, states=STATES,
        )  # fmt: skip


@router.post("/adjustments/{number}/{what}", dependencies=[Depends(own_form)])
def decide(desk: Acting, number: int, what: str, reason: Annotated[str, Form(max_length=400)] = "") -> Response:
    """Approve, reject or undo in the reader's name."""
    by = desk.visitor.name
    try:
        if what == "approve":
            adjustments.approve(desk.house, number, by=by)
        elif what == "reject":
            adjustments.reject(desk.house, number, by=by)
        else:
            adjustments.undo(desk.house, number, by=by, reason=reason)
    except Trouble as no:
        return RedirectResponse(f"/adjustments?{_query(refused=str(no)[:300])}", 303)
    return RedirectResponse("/adjustments", 303)


def _query(**values: str) -> str:
    return urlencode(values)


@router.get("/rerate")
def rerate_page(
    desk: Money,
    since: Annotated[date | None, Query(alias="from")] = None,
    contract: Annotated[str, Query(max_length=60)] = "",
    policy: Annotated[str, Query(max_length=30)] = "delta_next",
    refused: Annotated[str, Query(max_length=300)] = "",
) -> Response:
    """Show what a re-rating would change: old, new, difference."""
    chosen: rerating.Policy = next((one for one in rerating.POLICIES if one == policy), "delta_next")
    found: dict[str, Any] | None = None
    if since is not None:
        try:
            found = rerating.preview(desk.house, since, contract.strip() or None, chosen)
        except Trouble as no:
            refused = str(no)[:300]
    with desk.reading() as tx:
        return show(
            desk, tx, "rerate.html", here="billing", title="Re-rate", cli="trueup bill rerate --from DATE --dry-run",
            found=found, since=since, contract=contract, policy=chosen, policies=rerating.POLICIES, refused=refused,
        )  # fmt: skip


@router.post("/rerate", dependencies=[Depends(own_form)])
def rerate(
    desk: Acting,
    since: Annotated[date, Form()],
    reason: Reason,
    policy: Annotated[str, Form(max_length=30)] = "delta_next",
    contract: Annotated[str, Form(max_length=60)] = "",
) -> Response:
    """Propose the differences in the reader's name; somebody else approves them."""
    chosen: rerating.Policy = next((one for one in rerating.POLICIES if one == policy), "delta_next")
    try:
        rerating.propose(desk.house, since, contract.strip() or None, chosen, by=desk.visitor.name, reason=reason)
    except Trouble as no:
        return RedirectResponse(f"/rerate?{_query(refused=str(no)[:300])}", 303)
    return RedirectResponse("/adjustments?state=proposed", 303)


@router.get("/invoices/{identifier}/credit")
def credit_page(
    desk: Money,
    identifier: str,
    entries: Annotated[list[str] | None, Query(max_length=5000)] = None,
    look: bool = False,
    refused: Annotated[str, Query(max_length=300)] = "",
) -> Response:
    """Choose what to credit of a posted invoice, and see the credit before anything moves."""
    with desk.reading() as tx:
        gid = explain.find_invoice(tx, identifier)
        explained = explain.explain(tx, gid, cost=False) if gid else None
        if gid is None or explained is None:
            raise HTTPException(404, f"There is no invoice {identifier}.")
        stands = corrections.standing(tx, gid)
    named = {charge.fact: charge for line in explained.lines for charge in line.charges}
    found, chosen = None, entries or []
    if look:
        try:
            found = corrections.preview(desk.house, gid, dict.fromkeys(chosen) or None)
        except Trouble as no:
            refused = str(no)[:300]
    with desk.reading() as tx:
        return show(
            desk, tx, "credit.html", here="billing", title=f"Credit of {explained.number or explained.code}",
            cli=f"trueup bill credit {explained.code} --dry-run", it=explained, stands=stands, named=named, chosen=chosen, found=found,
            refused=refused,
        )  # fmt: skip


@router.post("/invoices/{identifier}/credit", dependencies=[Depends(own_form)])
def credit(
    desk: Acting,
    identifier: str,
    reason: Reason,
    entries: Annotated[list[str] | None, Form(max_length=5000)] = None,
    again: Annotated[bool, Form()] = False,
) -> Response:
    """Credit in the reader's name."""
    with desk.reading() as tx:
        gid = explain.find_invoice(tx, identifier)
    if gid is None:
        raise HTTPException(404, f"There is no invoice {identifier}.")
    facts = dict.fromkeys(entries) if entries else None
    try:
        made = corrections.give(desk.house, gid, by=desk.visitor.name, reason=reason, facts=facts, again=again)
    except Trouble as no:
        return RedirectResponse(f"/invoices/{identifier}/credit?{_query(refused=str(no)[:300])}", 303)
    return RedirectResponse(f"/invoices/{made}", 303)
