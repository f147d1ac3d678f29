"""What a person does on a page: release, start again; each with a name, a reason where money is moved."""

from typing import Annotated
from urllib.parse import parse_qsl, urlencode, urlsplit

from fastapi import APIRouter, Depends, Form
from fastapi.responses import RedirectResponse, Response

from trueup import engine
from trueup.entrypoints.web.visitor import Acting, local_path, own_form
from trueup.store import changes, holds
from trueup.store.changes import Event

router = APIRouter(dependencies=[Depends(own_form)])
Numbers = Annotated[list[int], Form(min_length=1, max_length=5000)]
Keys = Annotated[list[str], Form(min_length=1, max_length=5000)]
Back = Annotated[str, Form()]


@router.post("/billing/release")
def release(
    desk: Acting, numbers: Numbers, reason: Annotated[str, Form(min_length=5, max_length=400)], back: Back = "/billing"
) -> Response:
    """Release holds, with name and reason; who listens acts in the same transaction."""
    with desk.house.database.transaction() as tx:
        ended = holds.release(tx, numbers, desk.visitor.name, reason)
        told = [
            Event(
                f"hold.released/{hold['number']}",
                "hold.released",
                hold["scope"],
                hold["scope_kind"],
                {"code": hold["code"], "reason": reason},
            )
            for hold in ended
        ]
        desk.house.react(tx, changes.tell(tx, told))
    return _back(back, "released", len(ended))


@router.post("/processes/restart")
def restart(desk: Acting, keys: Keys, back: Back = "/quarantine") -> Response:
    """Queue failed processes again."""
    with desk.house.database.transaction() as tx:
        count = sum(engine.restart(tx, key) for key in keys)
    return _back(back, "restarted", count)


def _back(path: str, done: str, count: int) -> Response:
    parts = urlsplit(local_path(path))
    kept = [(name, value) for name, value in parse_qsl(parts.query) if name not in ("done", "count")]
    query = urlencode([*kept, ("done", done), ("count", str(count))])
    return RedirectResponse(f"{parts.path}?{query}", 303)
