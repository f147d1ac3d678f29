"""Makes documents and hands out only what our own checker finds clean: official rules and exact recomputation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from trueup.documents import cii, hybrid, paper, ubl
from trueup.documents.check import check
from trueup.documents.findings import Finding, Report, sentences
from trueup.documents.invoice import EInvoice
from trueup.documents.paper import Entry
from trueup.kernel.errors import Refused
from trueup.kernel.money import minor_digits

Format = Literal["ubl", "cii", "facturx", "pdf"]
FORMATS: tuple[Format, ...] = get_args(Format)
MEDIA = {"ubl": "application/xml", "cii": "application/xml", "facturx": "application/pdf", "pdf": "application/pdf"}


@dataclass(frozen=True, slots=True)
class Made:
    """A document, ready to be handed out.

    name  file name: the invoice's number, made safe
    """

    name: str
    media_type: str
    content: bytes


def make(
    invoice: EInvoice,
    form: Format,
    entries: Sequence[Entry] = (),
    *,
    draft: bool = False,
    template: str | None = None,
) -> Made:
    """Return the invoice as a document of a format.

    draft     the invoice is not posted: only a marked PDF can be had of it
    template  the firm's own Typst text
    Raises    Refused with the findings when our own checker would not accept it, and for an e-invoice of a draft.
    """
    if draft and form != "pdf":
        raise Refused(f"{invoice.number} is a draft without a number: only format pdf can be had of it", "draft")
    xml = _written(invoice, form)
    _accept(invoice, xml)
    content = xml
    if form in ("pdf", "facturx"):
        content = paper.pdf(invoice, entries, draft=draft, template=template)
    if form == "facturx":
        title = f"{'Credit note' if invoice.credit else 'Invoice'} {invoice.number}"
        content = hybrid.put_in(
            content,
            xml,
            title=title,
            author=invoice.seller.name,
            subject=f"{title} of {invoice.issued_on.isoformat()} to {invoice.buyer.name}",
            day=invoice.issued_on,
        )
        if hybrid.take_out(content, len(content)) != xml:
            raise Refused(f"the PDF of {invoice.number} does not give back the e-invoice put into it", "not_clean")
    ending = {"ubl": "ubl.xml", "cii": "cii.xml"}.get(form, "pdf")
    return Made(f"{_safe(invoice.number)}.{ending}", MEDIA[form], content)


def unclean(invoice: EInvoice, form: Format) -> tuple[Finding, ...]:
    """Return what our own checker finds wrong with the invoice in a format; nothing when it may be handed out."""
    return _wrong(invoice, check(_written(invoice, form)))


def _written(invoice: EInvoice, form: Format) -> bytes:
    return ubl.write(invoice) if form == "ubl" else cii.write(invoice)


def _wrong(invoice: EInvoice, report: Report) -> tuple[Finding, ...]:
    return tuple(one for one in report.findings if one.severity == "error" and not _left_over(invoice, one))


def _accept(invoice: EInvoice, xml: bytes) -> None:
    """Refuse what our own checker finds wrong, or could not check."""
    report = check(xml)
    wrong = _wrong(invoice, report)
    unmade = [f"{stage.name}: {stage.sentence}" for stage in report.stages if not stage.made]
    if wrong or unmade:
        said = "; ".join(part for part in (sentences(wrong), *unmade) if part)
        raise Refused(f"the document of {invoice.number} is not clean and is not handed out: {said}", "not_clean")


def _left_over(invoice: EInvoice, one: Finding) -> bool:
    """Say whether a finding is the cent of tax that the last credit of an invoice takes, so that no tax is left (S20)."""
    cent = minor_digits(invoice.currency)
    return (
        invoice.credit
        and bool(invoice.preceding)
        and one.rule == "EXACT-BT-117"
        and one.difference is not None
        and abs(one.difference).scaleb(cent) == 1
    )


def _safe(number: str) -> str:
    """Return a number as a file name.

    >>> _safe("DE01/2026 000017")
    'DE01-2026-000017'
    """
    return "".join(sign if sign.isascii() and (sign.isalnum() or sign in "-_.") else "-" for sign in number)[:80]
