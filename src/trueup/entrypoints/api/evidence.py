"""What an auditor needs to make an invoice again, as one file."""

from typing import Annotated

from fastapi import APIRouter, Request, Security
from starlette.responses import Response

from trueup.entrypoints import rebuild
from trueup.entrypoints.api.auth import Caller, signed_in
from trueup.entrypoints.api.problems import Problem
from trueup.pipeline.house import House
from trueup.reporting.explain import find_invoice

router = APIRouter(prefix="/v1")
# Bytes as they came cannot have pay taken out of them without ceasing to be evidence.
Auditor = Annotated[Caller, Security(signed_in, scopes=["money:read", "cost:read"])]


@router.get(
    "/invoices/{id}/evidence", tags=["invoices"], summary="Everything an invoice depends on, to rebuild it elsewhere",
    operation_id="get_invoice_evidence",
    responses={200: {"content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}}}},
    response_class=Response,
)  # fmt: skip
def get_evidence(request: Request, caller: Auditor, id: str) -> Response:
    """Return the bundle that `trueup rebuild` makes the invoice again from: raw messages, rules, runs, digests."""
    found = bundle_of(request.app.state.house, id)
    if found is None:
        raise Problem("not_found", f"there is no invoice {id}")
    return found


def bundle_of(house: House, identifier: str) -> Response | None:
    """Return the bundle of an invoice as a file to be kept; None when there is no such invoice.

    Raises    Broken when it was billed before acts were written down.
    """
    with house.database.transaction() as tx:
        tx.run("set transaction isolation level repeatable read read only")
        gid = find_invoice(tx, identifier)
        if gid is None:
            return None
        content = rebuild.zipped(rebuild.export(tx, [gid]))
    headers = {"Content-Disposition": f'attachment; filename="{gid}.evidence.zip"', "Cache-Control": "no-store"}
    return Response(content, media_type="application/zip", headers=headers)
