"""What an auditor needs to make an invoice again, as one file."""

from typing import Annotated

from fastapi import APIRouter, Request, Security
from starlette.responses import Response

from trueup.entrypoints import rebuild
from trueup.entrypoints.api.auth import Caller, signed_in
from trueup.entrypoints.api.problems import Problem

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
    found = rebuild.file_of(request.app.state.house, id)
    if found is None:
        raise Problem("not_found", f"there is no invoice {id}")
    name, content = found
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return Response(content, media_type="application/zip", headers=headers)
