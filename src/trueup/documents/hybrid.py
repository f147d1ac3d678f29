"""Factur-X: the CII inside the PDF, put in and taken out."""

import logging
import re
from datetime import UTC, date, datetime, time
from io import BytesIO
from typing import cast

from trueup.documents.xml import Unreadable

NAMES = ("factur-x.xml", "zugferd-invoice.xml", "xrechnung.xml")
"""File names under which a PDF carries its invoice, by Factur-X, ZUGFeRD 1 and XRechnung."""

_STAMPS = re.compile(rb"(?<=Date>)[0-9]{4}-[0-9]{2}-[0-9]{2}T[^<]{5,30}(?=<)")

# The libraries log what they met in a foreign file; the caller gets it as a sentence.
for _name in ("pypdf", "factur-x"):
    logging.getLogger(_name).addHandler(logging.NullHandler())
    logging.getLogger(_name).propagate = False


def is_pdf(raw: bytes) -> bool:
    """Say whether a file is a PDF: its mark stands in the first kilobyte (PDF 32000-1, annex H)."""
    return b"%PDF-" in raw[:1024]


def take_out(raw: bytes, most: int) -> bytes:
    """Return the XML a PDF carries.

    most      bytes of a PDF that is still opened
    Raises    Unreadable: too large, broken, encrypted, nothing inside.
    """
    from pypdf import PdfReader

    if len(raw) > most:
        raise Unreadable(f"the PDF has {len(raw):,} bytes; at most {most:,} are read")
    try:
        inside = PdfReader(BytesIO(raw)).attachments
        for name in NAMES:
            for given in inside:
                if given.lower() == name:
                    return bytes(inside[given][0])
    except Exception as wrong:  # pypdf answers a broken file with whatever it stumbled over
        raise Unreadable(f"the PDF cannot be read: {type(wrong).__name__}") from wrong
    raise Unreadable("the PDF carries no invoice: there is no factur-x.xml in it")


def put_in(pdf: bytes, xml: bytes, *, title: str, author: str, subject: str, day: date) -> bytes:
    """Return a PDF/A-3 that carries the invoice, with the XMP of Factur-X.

    pdf   PDF/A-3 as `paper` makes it
    xml   CII of the profile EN 16931
    day   date of the document: all times in the file are its midnight, so that the same invoice gives the same bytes
    """
    from facturx import generate_from_binary

    made = generate_from_binary(
        pdf,
        xml,
        flavor="factur-x",
        level="en16931",
        check_xsd=False,  # our own checker judges the XML before it gets here
        pdf_metadata={"author": author, "keywords": "Factur-X, invoice", "title": title, "subject": subject},
        lang="en",
        afrelationship="alternative",
    )
    return _steady(made, datetime.combine(day, time(), UTC))


def _steady(pdf: bytes, at: datetime) -> bytes:
    """Return the PDF with one moment in all its time stamps."""
    from pypdf import PdfReader, PdfWriter
    from pypdf.generic import DictionaryObject, NameObject, StreamObject, TextStringObject

    stamp = TextStringObject(at.strftime("D:%Y%m%d%H%M%S+00'00'"))
    writer = PdfWriter(clone_from=PdfReader(BytesIO(pdf)))
    writer.add_metadata({"/CreationDate": stamp, "/ModDate": stamp})
    for given in writer._objects:
        if isinstance(given, StreamObject) and given.get("/Type") == "/EmbeddedFile":
            cast(DictionaryObject, given["/Params"].get_object())[NameObject("/ModDate")] = stamp
        if isinstance(given, StreamObject) and given.get("/Type") == "/Metadata":
            said = at.strftime("%Y-%m-%dT%H:%M:%S+00:00").encode()
            given.set_data(_STAMPS.sub(said, given.get_data()))
    out = BytesIO()
    writer.write(out)
    return out.getvalue()
