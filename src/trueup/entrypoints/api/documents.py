"""Documents over the API: an invoice as UBL, CII, Factur-X or PDF, and the judge of any e-invoice."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Security
from pydantic import BaseModel
from starlette.responses import Response

from trueup.documents.check import MAX_SENT, SENT_SECONDS, check
from trueup.documents.findings import Finding, Stage
from trueup.documents.issue import issue
from trueup.documents.make import Format, unclean
from trueup.entrypoints.api.answers import answer, house_of
from trueup.entrypoints.api.auth import Caller, signed_in
from trueup.entrypoints.api.hooks import whole_body
from trueup.entrypoints.api.problems import Problem
from trueup.kernel.errors import Refused
from trueup.reporting import documents

router = APIRouter(prefix="/v1")
Reader = Annotated[Caller, Security(signed_in, scopes=["money:read"])]


class Judged(BaseModel):
    """What we think of a file; nothing of it is kept.

    clean    it could be read and no finding is an error
    carrier  pdf when the invoice was inside a PDF
    """

    clean: bool
    readable: bool
    syntax: str | None
    carrier: str
    profile: str | None
    number: str | None
    stages: list[Stage]
    findings: list[Finding]


async def given_file(request: Request) -> bytes:
    """Return the file a caller sends as the body itself, no larger than allowed.

    Raises    Problem: media_type, too_large, timeout.
    """
    if request.headers.getlist("content-encoding"):
        raise Problem("media_type", "the file must come uncompressed")
    return await whole_body(request, MAX_SENT, SENT_SECONDS)


@router.get(
    "/invoices/{id}/document", tags=["invoices"], summary="An invoice as UBL, CII, Factur-X or PDF",
    operation_id="get_invoice_document", response_class=Response,
    responses={200: {"content": {"application/pdf": {}, "application/xml": {}}, "description": "The document"}},
)  # fmt: skip
def get_invoice_document(
    request: Request,
    caller: Reader,
    id: str,
    form: Annotated[Format, Query(alias="format", description="ubl, cii, facturx or pdf.")] = "pdf",
) -> Response:
    """Return the document, checked by the official rules and to the last digit; of a draft there is a marked PDF only."""
    house = house_of(request)
    with house.database.transaction() as tx:
        found = documents.material(tx, id)
    if found is None:
        raise Problem("not_found", f"there is no invoice {id}")
    try:
        made = documents.made(found, form, house.firm.letterheads, house.firm.invoice_template)
    except Refused as no:
        if no.code != "not_clean":
            raise
        seller = house.firm.letterheads[found.invoice.legal_entity or ""]
        findings = unclean(issue(found.invoice, found.customer, seller, found.around), form)
        raise Problem(
            "refused", str(no), more={"refusal": no.code, "findings": [asdict(one) for one in findings]}
        ) from no
    headers = {"Cache-Control": "no-store", "Content-Disposition": f'attachment; filename="{made.name}"'}
    return Response(made.content, media_type=made.media_type, headers=headers)


@router.post(
    "/einvoices/check", tags=["invoices"], summary="Judge an e-invoice: official rules, and every amount worked out again",
    operation_id="check_einvoice", responses={200: {"model": Judged}},
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": "The file itself: UBL 2.1 or CII, or a PDF with one inside; at most 10 MB.",
            "content": {
                kind: {"schema": {"type": "string", "format": "binary"}}
                for kind in ("application/xml", "application/pdf", "application/octet-stream")
            },
        }
    },
)  # fmt: skip
def check_einvoice(caller: Reader, raw: Annotated[bytes, Depends(given_file)]) -> Response:
    """Judge a file, also one of somebody else; needs no idempotency key: nothing is kept, nothing changes."""
    report = check(raw)
    return answer({"clean": report.clean} | asdict(report))
