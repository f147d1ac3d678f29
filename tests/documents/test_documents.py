import io
import json
from dataclasses import replace
from decimal import Decimal

import pytest
from examples import EXAMPLES, credit_note, domestic, invoice, line, swiss
from hypothesis import given, settings
from hypothesis import strategies as st
from pypdf import PdfReader
from typer.testing import CliRunner

from trueup.documents import cii, hybrid, make, paper, ubl
from trueup.documents.arithmetic import recompute
from trueup.documents.check import check, read
from trueup.documents.issue import Letterhead, issue
from trueup.documents.xml import MAX_BYTES
from trueup.entrypoints.cli.main import app
from trueup.kernel.errors import Refused
from trueup.model.customer import Customer
from trueup.model.invoice import Invoice

SYNTAXES = (ubl, cii)
CENT = Decimal("0.01")


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("name", EXAMPLES)
def test_every_kind_of_invoice_passes_the_official_rules_and_comes_back_equal(name, syntax):
    it = EXAMPLES[name]()
    raw = syntax.write(it)
    report = check(raw)
    assert report.clean, report.findings
    assert all(stage.made for stage in report.stages)
    assert read(raw)[1] == it
    assert syntax.write(it) == raw


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_cent_that_the_official_rules_let_pass_is_found(syntax):
    raw = syntax.write(invoice([line(1, "1", "3986.34", unit="C62")]))
    report = check(raw.replace(b"757.40", b"757.41").replace(b"4743.74", b"4743.75"))
    (found,) = [one for one in report.findings if one.severity == "error"]
    assert (found.rule, found.term, found.stated, found.exact, found.difference) == (
        "EXACT-BT-117", "BT-117", Decimal("757.41"), Decimal("757.40"), CENT
    )  # fmt: skip


LINES = st.lists(
    st.builds(
        lambda q, p, r: (q, p, r),
        st.decimals("0.01", 999, places=2),
        st.decimals(0, 999, places=4),
        st.sampled_from(["19", "7"]),
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=40)
@given(LINES, st.data())
def test_what_adds_up_has_no_finding_and_one_changed_cent_has_one(rows, data):
    it = invoice([line(n, q, p, rate=r) for n, (q, p, r) in enumerate(rows, start=1)], prepaid=Decimal("10.00"))
    assert recompute(it) == ()
    cent = data.draw(st.sampled_from([CENT, -CENT]))
    place = data.draw(st.sampled_from(["lines", "net", "tax", "gross", "prepaid", "due", "line", "base", "amount"]))
    if place == "line":
        wrong = replace(it, lines=(replace(it.lines[0], net=it.lines[0].net + cent), *it.lines[1:]))
    elif place in ("base", "amount"):
        row = replace(it.taxes[0], **{place: getattr(it.taxes[0], place) + cent})
        wrong = replace(it, taxes=(row, *it.taxes[1:]))
    else:
        wrong = replace(it, totals=replace(it.totals, **{place: getattr(it.totals, place) + cent}))
    assert recompute(wrong) != ()
    for syntax in SYNTAXES:
        assert read(syntax.write(it))[1] == it


def test_swiss_cash_rounding_is_stated_and_not_hidden():
    said = swiss().totals
    assert (said.gross, said.rounding, said.due) == (Decimal("1234.52"), Decimal("-0.02"), Decimal("1234.50"))


LAUGHS = b'<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><x>&b;</x>'


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (LAUGHS, "document type"),
        (LAUGHS.decode().encode("utf-16"), "document type"),
        (b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/hostname">]><x>&a;</x>', "document type"),
        (b" " * (MAX_BYTES + 1), "at most"),
        (b'<?xml version="1.0" encoding="UTF-8"?><x>\xff</x>', "says it is utf-8"),
        (b'<?xml version="1.0" encoding="utf-7"?><x/>', "not read"),
        (b"<a/>" * 600_000, "elements"),
        (b"<x>", "not well-formed"),
        (b"<x/>", "neither UBL nor CII"),
        (b"", "not well-formed"),
        (b"%PDF-1.7 nothing", "PDF"),
    ],
)
def test_hostile_files_are_refused_with_a_reason(raw, why):
    report = check(raw)
    assert not report.readable
    assert why in report.findings[0].sentence


ENTRIES = (
    paper.Entry("1", domestic().issued_on, "Ann Ames", "Discovery", 440, Decimal("1356.67")),
    paper.Entry("1", domestic().issued_on, "Bob Bell", "Design", 440, Decimal("1356.67")),
)


def test_a_factur_x_gives_back_the_invoice_and_is_made_the_same_twice():
    made = make.make(domestic(), "facturx", ENTRIES)
    assert hybrid.take_out(made.content, len(made.content)) == cii.write(domestic())
    assert make.make(domestic(), "facturx", ENTRIES) == made
    text = "".join(page.extract_text() for page in PdfReader(io.BytesIO(made.content)).pages)
    assert "2,713.34" in text
    assert "14:40" in text
    assert check(made.content).clean


def test_a_draft_is_marked_and_is_no_e_invoice():
    made = make.make(credit_note(), "pdf", draft=True)
    assert "DRAFT" in PdfReader(io.BytesIO(made.content)).pages[0].extract_text()
    with pytest.raises(Refused, match="draft"):
        make.make(credit_note(), "ubl", draft=True)


SELLER = Letterhead("DE01", "Nordlys GmbH", "DE", "Hafenstrasse 12", None, "Hamburg", "20457", vat_id="DE123456789")


def held(**more):
    body = {
        "code": "D-1", "number": "DE01-2026-000001", "legal_entity": "DE01", "currency": "EUR", "due_on": "2026-11-30",
        "invoice_date": "2026-10-31", "tax_treatment": "reverse_charge", "tax_rate": "0", "net": "60.01", "tax": "0.00",
        "gross": "60.01", "lines": [{"key": "a", "description": "Analyst", "quantity": "0.3333", "rate": "180", "net": "60.01"}],
    }  # fmt: skip
    return Invoice.model_validate(body | more)


def customer(**more):
    body = {"name": "Aurore SA", "country": "FR", "currency": "EUR", "tax_id": "FR12345678901"}
    return Customer.model_validate(body | more)


@pytest.mark.parametrize("form", make.FORMATS)
def test_an_invoice_as_we_hold_it_becomes_a_clean_document_with_its_own_cents(form):
    it = issue(held(), customer(), SELLER)
    assert (it.lines[0].quantity, it.lines[0].unit, it.lines[0].adjustments[0].amount) == (Decimal(20), "MIN", CENT)
    assert make.make(it, form).content


def test_everything_that_is_missing_is_named_at_once():
    with pytest.raises(Refused, match=r"lacks letterhead: street, vat_id.*no VAT id.*the books say 60.02"):
        issue(held(gross="60.02"), customer(tax_id=None), replace(SELLER, street=None, vat_id=None))


def test_what_is_not_clean_is_not_handed_out():
    it = domestic()
    with pytest.raises(Refused, match="EXACT-BT-115"):
        make.make(replace(it, totals=replace(it.totals, due=it.totals.due + CENT)), "ubl")


def test_the_command_needs_no_workspace_and_its_exit_code_says_what_was_found(tmp_path):
    file = tmp_path / "a.xml"
    for raw, code in (
        (ubl.write(domestic()), 0),
        (ubl.write(domestic()).replace(b"6951.25", b"6951.26"), 1),
        (b"<x>", 2),
    ):
        file.write_bytes(raw)
        done = CliRunner().invoke(app, ["einvoice", "check", str(file), "--json"])
        assert done.exit_code == code
        assert json.loads(done.stdout)["readable"] is (code != 2)
