"""Subscribers over the API: who is told of business events, what waits for them, and what they did not take."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Security
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from trueup.entrypoints.api.answers import answer, house_of
from trueup.entrypoints.api.auth import Caller, signed_in
from trueup.entrypoints.api.problems import Problem
from trueup.reporting.subscribers import states
from trueup.store import subscriptions

router = APIRouter(prefix="/v1/subscribers", tags=["events"])
Watcher = Annotated[Caller, Security(signed_in, scopes=["ops:read"])]
Operator = Annotated[Caller, Security(signed_in, scopes=["ops:act"])]


class SubscriberState(BaseModel):
    """One subscriber and how far it is.

    waiting  events read for it and not taken yet
    failed   events it refused until the last attempt; they wait for a person
    unread   events of the log not looked at for it yet
    """

    subscription: str
    url: str | None
    types: list[str]
    ordered: bool
    state: Literal["active", "paused", "gone"]
    reason: str | None
    paused_until: datetime | None
    misses: int
    sent: int
    waiting: int
    failed: int
    unread: int
    oldest_at: datetime | None
    created_at: datetime


class SubscriberStates(BaseModel):
    """Every subscriber of the workspace."""

    items: list[SubscriberState]


class SendingState(BaseModel):
    """One event on its way to a subscriber, with its last attempt."""

    event: int
    name: str
    subject: str
    state: Literal["due", "told", "failed"]
    attempts: int
    status: int | None
    detail: str | None
    due_at: datetime
    created_at: datetime
    told_at: datetime | None


class SendingStates(BaseModel):
    """Sendings, the newest events first."""

    items: list[SendingState]


class Again(BaseModel):
    """What to send again; without events, all that failed."""

    model_config = ConfigDict(extra="forbid", strict=True)
    events: list[int] | None = Field(default=None, max_length=10_000)


class Reason(BaseModel):
    """Why."""

    model_config = ConfigDict(extra="forbid", strict=True)
    reason: str = Field(min_length=5, max_length=300)


class Counted(BaseModel):
    """How many events are sent again."""

    count: int


@router.get("", summary="Who is told of events, and how far each is", responses={200: {"model": SubscriberStates}})
def list_subscribers(request: Request, caller: Watcher) -> Response:
    """Return every subscription; one that is in no file any more is shown without an address and is told nothing."""
    house = house_of(request)
    with house.database.transaction() as tx:
        return answer({"items": states(tx, house)})


@router.get(
    "/{name}/sendings", summary="Events on their way to one subscriber", responses={200: {"model": SendingStates}}
)
def list_sendings(
    request: Request, caller: Watcher, name: str,
    state: Annotated[Literal["due", "told", "failed"] | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:  # fmt: skip
    """Return sendings with their last attempt."""
    house = house_of(request)
    with house.database.transaction() as tx:
        _known(subscriptions.listing(tx), name)
        return answer({"items": subscriptions.sendings(tx, name, state, limit)})


@router.post("/{name}/resend", summary="Send events again under the same ids", responses={200: {"model": Counted}})
def resend_events(request: Request, caller: Operator, name: str, body: Again) -> Response:
    """Open failed events, or those named, once more."""
    house = house_of(request)
    with house.database.transaction() as tx:
        _known(subscriptions.listing(tx), name)
        return answer({"count": subscriptions.resend(tx, name, body.events)})


@router.post(
    "/{name}/pause", summary="Stop telling a subscriber; events wait", responses={200: {"model": SubscriberState}}
)
def pause_subscriber(request: Request, caller: Operator, name: str, body: Reason) -> Response:
    """Pause, with a reason."""
    return _set(request, name, "paused", f"{caller.name}: {body.reason}")


@router.post("/{name}/resume", summary="Go on where it was", responses={200: {"model": SubscriberState}})
def resume_subscriber(request: Request, caller: Operator, name: str) -> Response:
    """Go on after a pause, or after the subscriber said 410."""
    return _set(request, name, "active", "")


def _set(request: Request, name: str, state: Literal["active", "paused"], reason: str) -> Response:
    house = house_of(request)
    with house.database.transaction() as tx:
        _known(subscriptions.listing(tx), name)
        subscriptions.set_state(tx, name, state, reason)
        return answer(next(one for one in states(tx, house) if one["subscription"] == name))


def _known(rows: list[dict[str, object]], name: str) -> None:
    if name not in {row["subscription"] for row in rows}:
        raise Problem("not_found", f"there is no subscriber {name}; they stand in trueup.yaml")
