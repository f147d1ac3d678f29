"""The judge of e-invoices: reads any UBL or CII, alone or in a PDF, and says what is wrong with it.

Three judgements, each on its own: the XML Schema, the official rules of EN 16931, and the exact recomputation.
"""

from typing import Literal

from lxml import etree

from trueup.documents import cii, hybrid, official, ubl
from trueup.documents.arithmetic import recompute
from trueup.documents.findings import Finding, Report, Stage
from trueup.documents.invoice import EInvoice
from trueup.documents.official import Syntax
from trueup.documents.xml import Reader, Unreadable, parse

MAX_PDF = 20_000_000
"""Bytes of a PDF that is opened."""

MAX_SENT = 10_000_000
"""Bytes of a file that somebody may send over the network to be judged."""
SENT_SECONDS = 30.0
"""How long such a file may take to come."""

EXTENDED = "#conformant#"
"""A profile that adds terms of its own to the standard, and may add them to its sums."""


def read(raw: bytes) -> tuple[Syntax, EInvoice, Reader, etree._Element]:
    """Return the invoice in a file, and the reader with what could not be read.

    Raises    Unreadable when it is no invoice in UBL or CII.
    """
    root = parse(hybrid.take_out(raw, MAX_PDF) if hybrid.is_pdf(raw) else raw)
    name = etree.QName(root)
    if name.namespace == ubl.INVOICE and name.localname == "Invoice":
        return "UBL Invoice", *ubl.read(root), root
    if name.namespace == ubl.CREDIT_NOTE and name.localname == "CreditNote":
        return "UBL CreditNote", *ubl.read(root), root
    if name.namespace == cii.ROOT and name.localname == "CrossIndustryInvoice":
        return "CII", *cii.read(root), root
    raise Unreadable(f"{name.localname[:60]} in {name.namespace or 'no namespace'} is neither UBL nor CII")


def check(raw: bytes) -> Report:
    """Judge a file: XML in UBL 2.1 or CII, or a PDF with one inside (Factur-X, ZUGFeRD)."""
    carrier: Literal["xml", "pdf"] = "pdf" if hybrid.is_pdf(raw) else "xml"
    try:
        syntax, invoice, reader, root = read(raw)
    except Unreadable as wrong:
        stage = Stage("reading", False, str(wrong))
        return Report(False, None, carrier, None, None, (stage,), (Finding("error", "UNREADABLE", str(wrong)),))
    reading = Stage("reading", True, f"well-formed XML, {syntax}")
    by_schema, shape = official.schema(root, syntax, invoice.profile)
    by_rules, broken = official.rules(root, syntax, invoice.profile)
    by_sums, sums = _recomputed(invoice, reader)
    return Report(
        True,
        syntax,
        carrier,
        invoice.profile or None,
        invoice.number or None,
        (reading, by_schema, by_rules, by_sums),
        (*reader.findings, *shape, *broken, *sums),
    )


def _recomputed(invoice: EInvoice, reader: Reader) -> tuple[Stage, tuple[Finding, ...]]:
    """Work the sums out anew; never with an amount that could not be read."""
    gaps = [one for one in reader.findings if one.rule.startswith(("MISSING", "NUMBER", "CURRENCY"))]
    if gaps:
        return Stage("recomputation", False, f"not checked: {gaps[0].sentence}"), ()
    try:
        found = recompute(invoice)
    except ArithmeticError as wrong:
        return Stage("recomputation", False, f"not checked: the amounts cannot be worked with ({wrong})"), ()
    if not invoice.lines:
        said = "totals only: this profile has no lines"
    else:
        said = f"{len(invoice.lines)} lines, {len(invoice.taxes)} tax rows and the totals, to the last digit"
    if EXTENDED in invoice.profile:
        said += "; terms that the extended profile adds are left out"
    return Stage("recomputation", True, said), found
