"""XML in and out: foreign files are hostile until read, our own have the same bytes every time.

Nothing outside the file is ever looked at: no document type, no entity, no network, no file.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal

from lxml import etree

from trueup.documents.findings import Finding
from trueup.kernel.money import round_money

MAX_BYTES = 5_000_000
"""An invoice of several thousand lines; what is attached to it may be left out."""

MAX_ELEMENTS = 250_000
ENCODINGS = {
    "utf-8": "utf-8", "us-ascii": "ascii", "ascii": "ascii", "iso-8859-1": "latin-1", "iso-8859-15": "iso-8859-15",
    "windows-1252": "cp1252", "utf-16": "utf-16",
}  # fmt: skip
"""What a declaration may say -> how Python calls it."""

_DECLARATION = re.compile(r"\s*<\?xml\s[^>]{0,200}?\?>")
_ENCODING = re.compile(r"""encoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")
_NUMBER = re.compile(r"[-+]?(?:[0-9]{1,15}(?:\.[0-9]{0,12})?|\.[0-9]{1,12})")
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Unreadable(Exception):
    """The bytes are no XML we are willing to read; the text says why."""


def parse(raw: bytes) -> etree._Element:
    """Read a file as XML and return its root.

    Raises    Unreadable: too large, in another encoding than it says, with a document type, not well formed.
    """
    text = _text(raw)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise Unreadable("the file has a document type; an invoice has none, and entities are not read")
    if text.count("<") > 2 * MAX_ELEMENTS:
        raise Unreadable(f"the file has more than {MAX_ELEMENTS:,} elements")
    parser = etree.XMLParser(
        resolve_entities=False, load_dtd=False, no_network=True, huge_tree=False, remove_comments=True, remove_pis=True
    )
    try:
        return etree.fromstring(text.encode(), parser)
    except etree.XMLSyntaxError as wrong:
        raise Unreadable(f"the file is not well-formed XML: {wrong.msg}") from wrong


def _text(raw: bytes) -> str:
    """Return the characters of a file without its declaration, decoded as it says and in no other way."""
    if len(raw) > MAX_BYTES:
        raise Unreadable(f"the file has {len(raw):,} bytes; at most {MAX_BYTES:,} are read")
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encoding = "utf-16"
    else:
        said = _ENCODING.search(raw[:200].split(b"?>")[0].decode("latin-1"))
        encoding = said[1].lower() if said else "utf-8"
    if encoding not in ENCODINGS:
        raise Unreadable(f"the encoding {encoding} is not read; send UTF-8")
    try:
        text = raw.removeprefix(b"\xef\xbb\xbf").decode(ENCODINGS[encoding])
    except UnicodeError as wrong:
        raise Unreadable(f"the file says it is {encoding}, and is not: {wrong}") from wrong
    return _DECLARATION.sub("", text, count=1) if _DECLARATION.match(text) else text


def clean(text: str) -> str:
    r"""Replace what XML cannot hold, and white space of every kind, by a space.

    >>> clean("Design\x00 and  build\n")
    'Design and build'
    """
    return " ".join(_NOT_XML.sub(" ", text).split())


class Writer:
    """Builds a document element by element; what is None is left out.

    names  prefix -> namespace; names are written `prefix:local`
    kept   local names of elements that the syntax demands even when they hold nothing
    """

    def __init__(self, root: str, names: Mapping[str | None, str], kept: frozenset[str] = frozenset()) -> None:
        self._names = names
        self._kept = kept
        self.root = etree.Element(self._name(root), nsmap=dict(names))

    def _name(self, name: str) -> str:
        prefix, _, local = name.rpartition(":")
        return f"{{{self._names[prefix or None]}}}{local}"

    def part(self, parent: etree._Element, name: str) -> etree._Element:
        """Add an element that holds others."""
        return etree.SubElement(parent, self._name(name))

    def put(self, parent: etree._Element, name: str, value: str | None, **attributes: str | None) -> None:
        """Add an element with a text, unless there is none."""
        if value is None or value == "":
            return
        made = self.part(parent, name)
        made.text = value
        for attribute, said in attributes.items():
            if said is not None:
                made.set(attribute, said)

    def bytes(self) -> bytes:
        """Return the document: UTF-8, indented, the same bytes for the same values."""
        _drop_empty(self.root, self._kept)
        written: bytes = etree.tostring(self.root, xml_declaration=True, encoding="UTF-8", pretty_print=True)
        return written


def _drop_empty(element: etree._Element, kept: frozenset[str]) -> None:
    """Take out elements that came to hold nothing: receivers refuse them (PEPPOL-EN16931-R008)."""
    for child in list(element):
        _drop_empty(child, kept)
        if len(child) == 0 and not child.text and etree.QName(child).localname not in kept:
            element.remove(child)


def amount_text(amount: Decimal | None, currency: str) -> str | None:
    """Write an amount with the digits of its currency, and with more only when it has more.

    >>> amount_text(Decimal("19"), "EUR"), amount_text(Decimal("19.00"), "JPY"), amount_text(Decimal("0.125"), "EUR")
    ('19.00', '19', '0.125')
    """
    if amount is None:
        return None
    rounded = round_money(amount, currency)
    return format(rounded if rounded == amount else amount, "f")


def number_text(number: Decimal | None) -> str | None:
    """Write a quantity, a price or a percentage without needless digits.

    >>> number_text(Decimal("19.00")), number_text(Decimal("1E+2")), number_text(Decimal("0.3333"))
    ('19', '100', '0.3333')
    """
    if number is None:
        return None
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def day_text(day: date | None, form: str = "%Y-%m-%d") -> str | None:
    """Write a day; `form` as strftime takes it."""
    return None if day is None else day.strftime(form)


class Reader:
    """Reads values by path, and keeps what is missing or no value of its kind as findings.

    root   the document's root
    names  prefix -> namespace
    """

    def __init__(self, root: etree._Element, names: Mapping[str, str]) -> None:
        self.root = root
        self.names = dict(names)
        self.findings: list[Finding] = []

    def all(self, at: etree._Element | None, path: str) -> list[etree._Element]:
        """Return every element at a path of `prefix:local` names; none below nothing."""
        return [] if at is None else at.findall(path, self.names)

    def one(self, at: etree._Element | None, path: str) -> etree._Element | None:
        """Return the first element at a path, or None."""
        return None if at is None else at.find(path, self.names)

    def text(self, at: etree._Element | None, path: str) -> str | None:
        """Return the text at a path without the space around it; None when there is none."""
        found = self.one(at, path)
        return None if found is None else ((found.text or "").strip() or None)

    def needed(self, at: etree._Element | None, path: str, term: str, name: str, where: str = "") -> str:
        """Return the text at a path; a finding, and nothing, when it is missing."""
        found = self.text(at, path)
        if found is None:
            place = f" of {where}" if where else ""
            self.findings.append(Finding("error", f"MISSING-{term}", f"{name}{place} is missing", term, where or None))
        return found or ""

    def number(self, at: etree._Element | None, path: str, term: str) -> Decimal | None:
        """Return the number at a path, or None; a finding when it is none."""
        return self.as_number(self.text(at, path), term)

    def as_number(self, text: str | None, term: str) -> Decimal | None:
        """Return a text as a number; a finding when it is none, or has more digits than an amount can have."""
        if text is None:
            return None
        if not _NUMBER.fullmatch(text):
            self.findings.append(Finding("error", f"NUMBER-{term}", f"{text[:40]!r} is no number we can read", term))
            return None
        return Decimal(text)

    def amount(self, at: etree._Element | None, path: str, term: str, name: str, where: str = "") -> Decimal:
        """Return the number at a path that must be there; with a finding, zero, when it is not."""
        text = self.needed(at, path, term, name, where)
        return self.as_number(text or None, term) or Decimal(0)

    def day(self, text: str | None, term: str, form: str = "%Y-%m-%d") -> date | None:
        """Return a text as a day; a finding when it is none.

        form  `%Y-%m-%d` or `%Y%m%d`
        """
        if text is None:
            return None
        plain = text[:10] if form == "%Y-%m-%d" else f"{text[:4]}-{text[4:6]}-{text[6:]}"
        try:
            return date.fromisoformat(plain)
        except ValueError:
            self.findings.append(Finding("error", f"DAY-{term}", f"{text[:40]!r} is no day", term))
            return None

    def currencies(self, currency: str, elements: Iterator[etree._Element], excused: str | None) -> None:
        """Keep a finding for every amount that names another currency than the document's.

        excused  the accounting currency, in which one tax total may be stated
        """
        for element in elements:
            said = element.get("currencyID")
            if said is not None and said not in (currency, excused):
                local = etree.QName(element).localname
                sentence = f"{local} {element.text or ''} is in {said[:10]}, the invoice is in {currency}"
                self.findings.append(Finding("error", "CURRENCY-BT-5", sentence, "BT-5", local))
