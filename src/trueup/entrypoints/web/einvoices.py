"""The page that judges e-invoices, and an invoice's documents to take along."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from trueup.documents.check import MAX_SENT, SENT_SECONDS, check
from trueup.documents.findings import Report
from trueup.documents.make import FORMATS
from trueup.entrypoints.web.rendering import HEADERS, show, show_bare
from trueup.entrypoints.web.visitor import Desk, Money, own_form
from trueup.kernel.errors import Refused
from trueup.reporting import documents

router = APIRouter()
AROUND = 10_000
"""Bytes of a form around its file."""
LONGEST_NAME = 120
ROWS = 200


@dataclass(frozen=True, slots=True)
class Upload:
    """A file from the form.

    wrong   why it cannot be judged, as a sentence; empty when it can
    status  HTTP status that says the same
    """

    name: str = ""
    raw: bytes = b""
    wrong: str = ""
    status: int = 200


@router.get("/einvoices")
def form(desk: Money) -> Response:
    """Show the form."""
    return _page(desk, None, None)


async def uploaded(request: Request, _: Money) -> Upload:
    """Return the file of the form; read here, so that it is never larger than allowed, and only for whom may send it."""
    raw = bytearray()
    try:
        async with asyncio.timeout(SENT_SECONDS):
            async for part in request.stream():
                raw += part
                if len(raw) > MAX_SENT + AROUND:
                    return Upload(wrong=f"The file is larger than {MAX_SENT // 1_000_000} MB.", status=413)
    except TimeoutError:
        return Upload(wrong=f"The file was not here after {SENT_SECONDS:g} seconds.", status=408)
    except ClientDisconnect as gone:
        raise HTTPException(400, "The browser hung up before the file was here.") from gone

    async def body() -> AsyncGenerator[bytes, None]:
        yield bytes(raw)

    none = Upload(wrong="Choose a file first.", status=422)
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        return none
    try:
        given = await MultiPartParser(request.headers, body(), max_files=1, max_fields=1).parse()
    except (MultiPartException, KeyError, ValueError):
        return Upload(wrong="The form cannot be read. Send it from this page.", status=400)
    try:
        file = given.get("file")
        if not isinstance(file, UploadFile) or not file.filename:
            return none
        content = await file.read()
    finally:
        await given.close()
    name = "".join(sign for sign in file.filename if sign.isprintable())[:LONGEST_NAME]
    return Upload(name, content) if content else Upload(name, wrong=f"{name} is empty.", status=422)


@router.post("/einvoices", dependencies=[Depends(own_form)])
async def judge(desk: Money, upload: Annotated[Upload, Depends(uploaded)]) -> Response:
    """Judge a file and show what is wrong with it; nothing of it is kept."""
    report = None if upload.wrong else await run_in_threadpool(check, upload.raw)
    return await run_in_threadpool(_page, desk, upload, report)


def _page(desk: Desk, upload: Upload | None, report: Report | None) -> Response:
    status = upload.status if upload else 200
    with desk.reading() as tx:
        return show(
            desk,
            tx,
            "einvoices.html",
            here="einvoices",
            title="E-invoices",
            cli="trueup einvoice check FILE",
            status=status,
            upload=upload,
            report=report,
            most=MAX_SENT // 1_000_000,
            rows=ROWS,
        )


@router.get("/invoices/{identifier:path}/document")
def document(
    desk: Money, identifier: str, wanted: Annotated[str, Query(alias="format", max_length=20)] = "pdf"
) -> Response:
    """Hand out an invoice's document, or say what is missing for one."""
    chosen = next((one for one in FORMATS if one == wanted), None)
    if chosen is None:
        raise HTTPException(404, f"There is no format {wanted}: choose one of {', '.join(FORMATS)}.")
    firm = desk.house.firm
    try:
        with desk.reading() as tx:
            found = documents.material(tx, identifier)
        if found is None:
            raise HTTPException(404, f"There is no invoice {identifier}.")
        made = documents.made(found, chosen, firm.letterheads, firm.invoice_template)
    except Refused as no:
        sentence = str(no)
        return show_bare(
            "problem.html",
            title="This document cannot be made",
            status=422,
            sentence=f"{sentence[:1].upper()}{sentence[1:]}.",
            advice="Correct what is named at its owner, then try again.",
            href=f"/invoices/{identifier}",
            label="Back to the invoice",
        )
    headers = {**HEADERS, "Content-Disposition": f'attachment; filename="{made.name}"'}
    return Response(made.content, media_type=made.media_type, headers=headers)
