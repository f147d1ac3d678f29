"""The bundle an auditor rebuilds an invoice from, behind the invoice's page."""

from fastapi import APIRouter, HTTPException
from fastapi.responses import Response

from trueup.entrypoints import rebuild
from trueup.entrypoints.web.visitor import Money, ScopeMissing
from trueup.kernel.errors import Broken

router = APIRouter()


@router.get("/invoices/{identifier:path}/evidence")
def evidence_file(desk: Money, identifier: str) -> Response:
    """Send everything the invoice depends on, for those who may see every raw byte of it."""
    if not desk.can("cost:read"):
        raise ScopeMissing("cost:read", desk.visitor.name)
    try:
        found = rebuild.file_of(desk.house, identifier)
    except Broken as cannot:
        raise HTTPException(409, f"{str(cannot)[:1].upper()}{str(cannot)[1:]}.") from cannot
    if found is None:
        raise HTTPException(404, f"There is no invoice {identifier}.")
    name, content = found
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return Response(content, media_type="application/zip", headers=headers)
