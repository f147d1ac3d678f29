"""Documents of a real month: every format of posted, draft, reverse-charge and credit invoices, and the judge of files."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal
from io import BytesIO

import pytest
from pypdf import PdfReader
from test_pages import Shape
from typer.testing import CliRunner
from wire import Api, call

import small_firm
from small_firm import gid_of
from trueup.documents.check import check, read
from trueup.entrypoints.cli.main import app
from trueup.kernel.ids import derive
from trueup.pipeline.ingest import author
from trueup.processes import opportunity_to_project, time_to_billing
from trueup.reporting import documents
from trueup.store import access, objects

POSTED, ABROAD, DRAFT, CREDIT = "R-1001", "R-1002", "X06-DE01-2026-09", "C-1001"
CATEGORIES = {POSTED: "S", ABROAD: "AE", CREDIT: "S"}


@pytest.fixture(scope="module")
def house(database_url):
    """The small firm after its August, with a September in France, a draft, and a credit of one hour."""
    with small_firm.opened(database_url) as built:
        add_september(built)
        add_credit(built)
        yield built


def add_september(house):
    """Bill two projects for a French client; one invoice is posted, the other stays a draft."""
    small_firm.hear(
        house, "dealer", "account",
        {"id": "a3", "name": "Lumière & Fils", "country": "FR", "vat": "FR40303265045", "currency": "EUR", "terms": 14},
    )  # fmt: skip
    for code in ("X05", "X06"):
        line = {"key": f"{code}-L1", "package": "ADV-TM", "method": "time_and_materials", "amount": 9000}
        small_firm.hear(house, "dealer", "deal", small_firm.deal(code, "a3", [line]))
        small_firm.hear(
            house, "dealer", "price",
            {"id": f"p-{code}", "deal": f"d-{code}", "role": "Consultant", "rate": 121.5, "currency": "EUR",
             "from": "2026-01-01"},
        )  # fmt: skip
        opportunity_to_project.set_up(house, gid_of(house, "contract", code), f"opportunity_to_project/{code}")
    small_firm.carry_out(house)
    entries = [
        small_firm.entry(f"s{number}", minutes, project=project, day=f"2026-09-{number:02}", notes="étude <A&B>")
        for number, (project, minutes) in enumerate(
            [("X05-DE01", 50), ("X05-DE01", 50), ("X05-DE01", 100), ("X06-DE01", 60)], start=1
        )
    ]
    small_firm.hear(house, "timely", "entry", *entries)
    time_to_billing.bill(house, "2026-09", "DE01", "billing_run/2026-09/DE01")
    small_firm.carry_out(house)
    with house.database.transaction() as tx:
        net = objects.one(tx, gid_of(house, "invoice", "X05-DE01-2026-09")).body["net"]
    said = {"number": ABROAD, "net": float(net), "tax": 0, "gross": float(net), "open": float(net)}
    small_firm.hear(house, "ledgerly", "bill", small_firm.bill(house, "X05-DE01-2026-09", **said))


def add_credit(house):
    """Take one hour of the German invoice back: 150.00 and 28.50 tax."""
    corrected = gid_of(house, "invoice", "X01-DE01-2026-08")
    with house.database.transaction() as tx:
        body = objects.one(tx, corrected).body
        line = next(one for one in body["lines"] if one["unit"] == "hour")
        values = {
            **body, "code": "X01-DE01-2026-08-C", "invoice_type": "credit", "corrects": corrected, "number": CREDIT,
            "net": "150.00", "tax": "28.50", "gross": "178.50", "balance": "0", "status": "posted", "due_on": None,
            "lines": [{**line, "quantity": "1", "net": "150.00"}],
        }  # fmt: skip
        author(tx, house, [("invoice", derive("invoice", "X01-C"), values)], role="erp", actor="test")


@pytest.fixture(scope="module")
def clerk(house, base):
    """Somebody who may read money over the API."""
    with house.database.transaction() as tx:
        return Api(base, access.issue(tx, "clerk", ["money:read"]))


def post(clerk, raw, **headers):
    """Send a file to be judged."""
    return call(clerk.base, "POST", "/v1/einvoices/check", raw, {"Authorization": f"Bearer {clerk.token}", **headers})


@pytest.mark.parametrize("form", ["ubl", "cii", "facturx"])
@pytest.mark.parametrize("number", [POSTED, ABROAD, CREDIT])
def test_a_posted_document_comes_in_every_format_and_its_own_judge_finds_it_clean(clerk, number, form):
    answer = clerk.get(f"/v1/invoices/{number}/document?format={form}")
    assert answer.status == 200, answer.body
    assert f'filename="{number}.' in answer.headers["content-disposition"]
    assert answer.headers["cache-control"] == "no-store"
    judged = post(clerk, answer.body).json()
    assert judged["clean"], judged["findings"]
    assert all(stage["made"] for stage in judged["stages"])
    assert judged["number"] == number
    it = read(answer.body)[1]
    assert {line.category for line in it.lines} == {CATEGORIES[number]}
    assert [one.number for one in it.preceding] == ([POSTED] if number == CREDIT else [])


@pytest.mark.parametrize("number", [POSTED, ABROAD, CREDIT])
def test_the_annex_lists_every_entry_and_adds_up_to_its_line(house, clerk, number):
    with house.database.transaction() as tx:
        found = documents.material(tx, number)
    for place, line in enumerate(found.invoice.lines, start=1):
        rows = [one for one in found.entries if one.line == str(place)]
        assert sum((one.amount for one in rows), Decimal(0)) == line.net
        if line.unit == "hour":
            assert Decimal(sum(one.minutes for one in rows)) == round(line.quantity * 60)
    text = "".join(page.extract_text() for page in PdfReader(BytesIO(pdf(clerk, number))).pages)
    assert "Annex: what stands behind each line" in text
    assert "Ida Holm" in text
    assert "DRAFT" not in text


def pdf(clerk, number):
    """Return the PDF of an invoice."""
    answer = clerk.get(f"/v1/invoices/{number}/document?format=pdf")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/pdf")
    return answer.body


def test_a_draft_is_a_marked_pdf_and_nothing_else(clerk):
    pages = [page.extract_text() for page in PdfReader(BytesIO(pdf(clerk, DRAFT))).pages]
    assert all("DRAFT" in page for page in pages)
    assert "DE89" not in "".join(pages)
    for form in ("ubl", "cii", "facturx"):
        answer = clerk.get(f"/v1/invoices/{DRAFT}/document?format={form}")
        assert (answer.status, answer.json()["refusal"]) == (422, "draft")


def test_reverse_charge_names_both_vat_ids_and_the_reason(clerk):
    it = read(clerk.get(f"/v1/invoices/{ABROAD}/document?format=ubl").body)[1]
    assert (it.seller.vat_id, it.buyer.vat_id) == ("DE312058744", "FR40303265045")
    assert it.totals.tax in (None, Decimal(0))
    assert "Reverse charge" in (it.taxes[0].reason or "")


def test_amounts_that_the_lines_do_not_make_are_named_and_nothing_is_handed_out(house, clerk):
    gid = gid_of(house, "invoice", "X01-DE01-2026-08")
    with house.database.transaction() as tx:
        held = objects.load(tx, [gid], lock=True)[gid]
        was = held.body["tax"]
        held.body["tax"] = "297.84"
        objects.save(tx, [held])
    try:
        answer = clerk.get(f"/v1/invoices/{POSTED}/document?format=ubl")
        problem = answer.json()
        assert (answer.status, problem["code"], problem["refusal"]) == (422, "refused", "document_incomplete")
        assert "297.84 EUR tax, its lines make 297.83" in problem["detail"]
    finally:
        with house.database.transaction() as tx:
            held.body["tax"] = was
            objects.save(tx, [held])


def test_what_the_official_rules_refuse_comes_back_as_findings(house, clerk):
    entities, entity = house.firm.entities, house.firm.entities["DE01"]
    bad = replace(entity.letterhead, vat_id="12345", tax_number=None)
    house.firm.entities["DE01"] = replace(entity, letterhead=bad)
    try:
        problem = clerk.get(f"/v1/invoices/{POSTED}/document?format=ubl").json()
    finally:
        entities["DE01"] = entity
    assert (problem["status"], problem["refusal"]) == (422, "not_clean")
    assert "BR-S-02" in {one["rule"] for one in problem["findings"]}


def test_an_entity_without_letterhead_says_which_file_to_fill(house, clerk):
    entity = house.firm.entities["DE01"]
    house.firm.entities["DE01"] = replace(entity, letterhead=None)
    try:
        answer = clerk.get(f"/v1/invoices/{POSTED}/document")
    finally:
        house.firm.entities["DE01"] = entity
    assert answer.status == 422
    assert "entities/DE01.yaml has no letterhead" in answer.json()["detail"]


def test_documents_need_money_read_and_an_invoice_that_is_there(house, base, clerk):
    with house.database.transaction() as tx:
        other = Api(base, access.issue(tx, "other", ["objects:read"]))
    assert other.get(f"/v1/invoices/{POSTED}/document").status == 403
    assert post(other, b"<x/>").status == 403
    assert call(base, "POST", "/v1/einvoices/check", b"<x/>").status == 401
    assert clerk.get("/v1/invoices/R-9/document").status == 404
    assert clerk.get(f"/v1/invoices/{POSTED}/document?format=docx").status == 422


def test_a_wrong_cent_is_judged_with_term_stated_exact_and_difference(clerk):
    raw = clerk.get(f"/v1/invoices/{POSTED}/document?format=ubl").body
    answer = post(clerk, raw.replace(b"297.83", b"297.84").replace(b"1865.33", b"1865.34"))
    judged = answer.json()
    (found,) = [one for one in judged["findings"] if one["rule"] == "EXACT-BT-117"]
    assert (answer.status, judged["clean"], judged["readable"]) == (200, False, True)
    assert (found["stated"], found["exact"], found["difference"]) == ("297.84", "297.83", "0.01")


BOMB = b"""<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY f SYSTEM "file:///etc/passwd">]>
<a>&b;&f;</a>"""


@pytest.mark.parametrize(
    "raw", [b"", b"\x00", BOMB, b"%PDF-1.7 nothing", b"<Invoice/>", b"<a>" * 100_000, b"\xff\xfe" + b"<" * 99],
    ids=["empty", "nul", "entities", "broken pdf", "foreign xml", "deep", "garbage"],
)  # fmt: skip
def test_a_hostile_file_is_unreadable_and_never_a_fault(clerk, raw):
    answer = post(clerk, raw)
    judged = answer.json()
    assert (answer.status, judged["readable"], judged["clean"]) == (200, False, False)
    assert "root:" not in answer.body.decode()


def test_a_file_that_is_too_large_or_packed_is_refused_before_it_is_read(clerk):
    assert post(clerk, b"", **{"Content-Length": "20000000"}).status == 413
    assert post(clerk, b"<x/>", **{"Content-Encoding": "gzip"}).status == 415


def test_many_callers_at_once_share_the_one_thread_of_the_rules(clerk):
    """Saxon may only be used by the thread that made it; the server answers from many."""
    good = clerk.get(f"/v1/invoices/{POSTED}/document?format=cii").body
    bad = good.replace(b"297.83", b"297.84").replace(b"1865.33", b"1865.34")

    def ask(number):
        if number % 3 == 2:
            form = ("ubl", "cii", "facturx")[number % 2]
            return clerk.get(f"/v1/invoices/{POSTED}/document?format={form}").status == 200
        return post(clerk, good if number % 3 else bad).json()["clean"] is bool(number % 3)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(24)))


@pytest.fixture(scope="module")
def cookie(house):
    """A signed-in reader of money."""
    with house.database.transaction() as tx:
        return f"trueup_token={access.issue(tx, 'Ana M', ['work:read', 'money:read'])}"


def upload(base, cookie, raw, *, name="it.xml", site="same-origin", field="file"):
    """Send the form as a browser does."""
    body = (
        f'--edge\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    ).encode() + raw + b"\r\n--edge--\r\n"  # fmt: skip
    headers = {"Cookie": cookie, "Sec-Fetch-Site": site, "Content-Type": "multipart/form-data; boundary=edge"}
    return call(base, "POST", "/einvoices", body, headers)


def test_the_page_judges_a_good_a_bad_and_a_hostile_file(base, clerk, cookie):
    good = clerk.get(f"/v1/invoices/{POSTED}/document?format=ubl").body
    page = Shape(upload(base, cookie, good).body.decode())
    assert "R-1001" in page.text
    assert "every amount comes out to the last digit" in page.text
    bad = upload(base, cookie, good.replace(b"297.83", b"297.84").replace(b"1865.33", b"1865.34"))
    text = Shape(bad.body.decode()).text
    assert (bad.status, "not clean" in text) == (200, True)
    assert all(part in text for part in ("EXACT-BT-117", "BT-117", "297.84", "297.83", "0.01"))
    hostile = upload(base, cookie, BOMB, name='<img src=x onerror="1">.xml')
    assert (hostile.status, "unreadable" in hostile.body.decode()) == (200, True)
    assert b"<img" not in hostile.body
    assert b"root:" not in hostile.body


def test_the_page_says_what_is_wrong_with_the_form_itself(base, cookie):
    for raw, more, status, said in (
        (b"", {}, 422, "it.xml is empty"), (b"x", {"name": ""}, 422, "Choose a file first"),
        (b"x", {"field": "other"}, 422, "Choose a file first"), (b"x" * 10_020_000, {}, 413, "larger than 10 MB"),
    ):  # fmt: skip
        answer = upload(base, cookie, raw, **more)
        assert (answer.status, said in answer.body.decode()) == (status, True), said
    broken = {"Cookie": cookie, "Sec-Fetch-Site": "same-origin", "Content-Type": "multipart/form-data"}
    assert call(base, "POST", "/einvoices", b"x", broken).status == 400


def test_another_site_cannot_send_a_file_in_a_readers_name(base, cookie):
    assert upload(base, cookie, b"<x/>", site="cross-site").status == 403
    assert upload(base, "", b"<x/>").status == 303


@pytest.mark.parametrize("number", [POSTED, ABROAD, CREDIT, DRAFT])
def test_every_document_the_page_of_an_invoice_offers_can_be_had(base, cookie, number):
    page = Shape(call(base, "GET", f"/invoices/{number}", headers={"Cookie": cookie}).body.decode())
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a" and "/document?" in attributes["href"]]
    assert len(links) == (1 if number == DRAFT else 4)
    for link in links:
        answer = call(base, "GET", link, headers={"Cookie": cookie})
        assert answer.status == 200, link
        assert answer.headers["content-disposition"].startswith("attachment")


def test_a_document_that_cannot_be_had_says_why_on_a_page(base, cookie):
    for path, status, said in (
        (f"/invoices/{DRAFT}/document?format=ubl", 422, "is a draft without a number"),
        (f"/invoices/{POSTED}/document?format=docx", 404, "There is no format docx"),
        ("/invoices/R-9/document", 404, "There is no invoice R-9"),
    ):
        answer = call(base, "GET", path, headers={"Cookie": cookie})
        assert (answer.status, said in answer.body.decode()) == (status, True), path


@pytest.fixture
def workspace(house, tmp_path, database_url, monkeypatch):
    """A workspace over the same database, as files."""
    (tmp_path / "entities").mkdir()
    (tmp_path / "trueup.yaml").write_text("company: Small Firm\npackages: {}\nsystems: {}\n")
    (tmp_path / "entities" / "DE01.yaml").write_text(
        "code: DE01\nname: Small GmbH\ncountry: DE\ncurrency: EUR\nsells_to: [DE, FR]\n"
        "letterhead:\n  street: Kleine Gasse 3\n  city: Bremen\n  post_code: '28195'\n  vat_id: DE312058744\n"
        "  email: rechnung@small.example\n  iban: DE89 3704 0044 0532 0130 00\n"
    )
    monkeypatch.setenv("TRUEUP_DATABASE", database_url)
    monkeypatch.setenv("TRUEUP_WORKSPACE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make(*words):
    """Run `trueup einvoice make`."""
    return CliRunner().invoke(app, ["einvoice", "make", *words])


def test_the_command_writes_every_format_and_says_what_it_wrote(workspace):
    for form in ("ubl", "cii", "facturx"):
        run = make(POSTED, "--format", form, "--out", f"it.{form}", "--json")
        assert run.exit_code == 0, run.output
        raw = (workspace / f"it.{form}").read_bytes()
        assert json.loads(run.stdout)["bytes"] == len(raw)
        assert check(raw).clean
    assert make(DRAFT, "--json").exit_code == 0
    assert (workspace / f"{DRAFT}.pdf").read_bytes().startswith(b"%PDF-")
    assert make(POSTED, "--format", "ubl", "--out", "-").stdout.startswith("<?xml")


def test_the_command_leaves_no_file_when_there_is_nothing_to_hand_out(workspace):
    for words, code in (
        (["R-9"], 1), ([POSTED, "--format", "docx"], 2), ([DRAFT, "--format", "ubl"], 5), ([POSTED, "--out", "no/x"], 2),
    ):  # fmt: skip
        run = make(*words, "--json")
        assert run.exit_code == code, run.output
        assert "error" in json.loads(run.stdout)
    assert sorted(path.name for path in workspace.iterdir()) == ["entities", "trueup.yaml"]


def test_a_workspace_may_have_its_own_layout(workspace):
    (workspace / "templates").mkdir()
    own = workspace / "templates" / "invoice.typ"
    own.write_text('#let it = json(bytes(sys.inputs.invoice))\n#set document(title: "Ours")\nOur own paper: #it.number')
    assert make(POSTED, "--out", "own.pdf").exit_code == 0
    assert "Our own paper: R-1001" in PdfReader(workspace / "own.pdf").pages[0].extract_text()
    own.write_text("#nonsense")
    run = make(POSTED, "--out", "broken.pdf", "--json")
    assert (run.exit_code, "templates/invoice.typ" in json.loads(run.stdout)["error"]) == (5, True)


def test_an_iban_that_does_not_check_out_is_refused_with_its_file(workspace):
    file = workspace / "entities" / "DE01.yaml"
    file.write_text(file.read_text().replace("DE89", "DE88"))
    run = make(POSTED, "--json")
    assert run.exit_code == 2
    assert "entities/DE01.yaml: letterhead.iban" in json.loads(run.stdout)["error"]
