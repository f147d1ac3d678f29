"""Writes to other systems: their states, open ends, older values over newer ones, half-done processes and taking back."""

from typing import Annotated, Any

from fastapi import APIRouter, Request, Security
from pydantic import BaseModel, Field
from starlette.responses import Response

from trueup.entrypoints.api import bodies
from trueup.entrypoints.api.answers import Done, answer, house_of, once
from trueup.entrypoints.api.auth import Caller, signed_in
from trueup.entrypoints.api.bodies import RawBody
from trueup.entrypoints.api.problems import Problem
from trueup.entrypoints.api.process import Command, Operator, said
from trueup.kernel.errors import Refused
from trueup.pipeline.house import House
from trueup.processes import undo as undoing
from trueup.store import deliveries
from trueup.store.database import Tx

router = APIRouter(prefix="/v1")
Watcher = Annotated[Caller, Security(signed_in, scopes=["ops:read"])]


class Undo(Command):
    """Take back what a process has made in other systems."""

    process: str = Field(min_length=1, max_length=400)
    reason: str = Field(min_length=5, max_length=400)


class Found(Command):
    """A person has looked: a parked write is there, under this identifier."""

    key: str = Field(min_length=1, max_length=400)
    external_id: str = Field(min_length=1, max_length=200)


class TakenBack(BaseModel):
    """What became of a process's writes.

    asked   keys of the writes that take others back
    let_go  keys that will not be sent
    stays   what was made and stays there, each with its reason
    """

    process: str
    asked: list[str]
    let_go: list[str]
    stays: list[list[str]]


COMMANDS: tuple[type[BaseModel], ...] = (Undo, Found)


@router.get("/effects", tags=["effects"], summary="Show writes by state, and open ends", operation_id="list_effects")
def list_effects(request: Request, caller: Watcher) -> Response:
    """Return how many writes are in each state, and those whose end nobody knows yet."""
    with house_of(request).database.transaction() as tx:
        states, rows = deliveries.counts(tx), deliveries.open_questions(tx)
    return answer({"states": states, "open": rows if caller.may("money:read") else [_bare(row) for row in rows]})


def _bare(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in ("amount", "currency")}


@router.get(
    "/effects/regressions",
    tags=["effects"],
    summary="List older values over newer ones",
    operation_id="list_regressions",
)
def list_regressions(
    request: Request, caller: Annotated[Caller, Security(signed_in, scopes=["money:read"])]
) -> Response:
    """Return older values that stood over newer ones at a system, with the write that heals each."""
    with house_of(request).database.transaction() as tx:
        return answer({"regressions": deliveries.regressions(tx)})


@router.get("/effects/halves", tags=["effects"], summary="List half-done processes", operation_id="list_halves")
def list_halves(request: Request, caller: Watcher) -> Response:
    """Return processes of which one system has something and another refused the rest: a person decides."""
    with house_of(request).database.transaction() as tx:
        return answer({"halves": deliveries.half_done(tx)})


@router.post(
    "/effects/undo", tags=["effects"], summary="Take a process back", operation_id="undo_process",
    responses={200: {"model": TakenBack}}, openapi_extra=said(Undo),
)  # fmt: skip
def undo(request: Request, caller: Operator, raw: RawBody) -> Response:
    """Let go what was not sent, and take back what was made, in the caller's name."""
    house, asked = house_of(request), bodies.command(raw, Undo)
    with house.database.transaction() as tx:
        return once(tx, request, caller, raw, lambda: _undone(tx, house, asked, caller.name))


def _undone(tx: Tx, house: House, asked: Undo, by: str) -> Done:
    try:
        done = undoing.undo(tx, house, asked.process, by, asked.reason)
    except Refused as no:
        raise Problem("not_found" if no.code == "unknown" else "conflict", str(no)) from no
    stays = [list(one) for one in done.stays]
    return Done({"process": done.process, "asked": list(done.asked), "let_go": list(done.let_go), "stays": stays})


@router.post(
    "/effects/found", tags=["effects"], summary="Say that a parked write is there", operation_id="found_effect",
    openapi_extra=said(Found),
)  # fmt: skip
def found(request: Request, caller: Operator, raw: RawBody) -> Response:
    """Take a person's word that a parked write landed: it is read in, and not sent again."""
    asked = bodies.command(raw, Found)
    with house_of(request).database.transaction() as tx:
        return once(tx, request, caller, raw, lambda: _found(tx, asked))


def _found(tx: Tx, asked: Found) -> Done:
    if not deliveries.landed(tx, asked.key, asked.external_id):
        raise Problem("conflict", f"no parked write has the key {asked.key}")
    return Done({"key": asked.key, "state": "landed"})
