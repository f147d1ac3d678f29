"""The pages in a real browser: no errors, no sideways scrolling on a phone, filters in place, everything without scripts."""

import os
import re
import shutil

import pytest

import small_firm
from trueup.entrypoints import rebuild
from trueup.store import access

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = os.environ.get("TRUEUP_CHROMIUM") or next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
ARGUMENTS = [
    "--no-sandbox", "--headless=new", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
PATHS = (
    "/work", "/flows", "/billing", "/projects", "/projects/X01-DE01", "/compare", "/executive", "/metrics", "/quarantine", "/einvoices",
    "/events", "/issues", "/plans", "/intake", "/close", "/labour",
    "/trace?id=X0", "/invoices/X01-DE01-2026-08", "/messages/1", "/sign-in",
)  # fmt: skip
# `make test` installs a Chromium first. Where a machine allows none, it says so on the screen and tests everything else.
LEFT_OUT = "no Chromium here, and `make test` could install none: name one with TRUEUP_CHROMIUM=path"
pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason=LEFT_OUT)]


@pytest.fixture(scope="module")
def house(database_url):
    """The small firm after its August."""
    with small_firm.opened(database_url) as built:
        small_firm.raise_behind_our_back(built)
        yield built


@pytest.fixture(scope="module")
def browser():
    """One Chromium for the module."""
    with playwright.sync_playwright() as started:
        running = started.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield running
        running.close()


@pytest.fixture
def open_page(browser, house, base):
    """Open a signed-in page of a given width; fails at the end when the browser complained."""
    with house.database.transaction() as tx:
        token = access.issue(tx, "Ana M", ["work:read", "money:read", "cost:read", "act"])
    contexts, complaints = [], []

    def make(path, *, width=1320, scripts=True, scheme="light"):
        context = browser.new_context(
            viewport={"width": width, "height": 900}, java_script_enabled=scripts, color_scheme=scheme
        )
        contexts.append(context)
        context.add_cookies([{"name": "trueup_token", "value": token, "url": base}])
        page = context.new_page()
        page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda fault: complaints.append(str(fault)))
        page.goto(base + path)
        return page

    yield make
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_scrolls_sideways_on_a_phone_or_makes_the_browser_complain(open_page, scheme):
    for path in PATHS:
        page = open_page(path, width=360, scheme=scheme)
        over = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert over == 0, path


def test_the_bar_is_one_line_and_the_rest_is_behind_more(open_page):
    page = open_page("/work")
    links = page.locator("nav .nav > li")
    tops = {box["y"] for one in links.all() if (box := one.bounding_box())}
    assert len(tops) == 1, "the bar breaks into several lines"
    page.click(".more summary")
    page.keyboard.press("Escape")
    assert not page.locator(".more ul").is_visible()
    page.click(".more summary")
    page.click(".more a:has-text('Plans')")
    page.wait_for_url("**/plans")
    assert page.get_attribute(".more summary", "aria-current") == "true"
    narrow = open_page("/plans", width=360)
    narrow.click(".more summary")
    over = narrow.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert over == 0


def test_a_reason_filters_in_place_and_keeps_an_address(open_page, base):
    page = open_page("/billing")
    page.click("#holds a:has-text('Approval missing')")
    page.wait_for_url("**/billing?reason=APPROVAL_MISSING")
    assert page.text_content("#items-h") == "Approval missing"
    assert page.locator("#items tbody tr").count() == 1
    page.reload()
    assert page.locator("#items tbody tr").count() == 1


def test_a_hold_is_released_without_scripts(open_page, house):
    page = open_page("/billing?reason=SIGNOFF_MISSING", scripts=False)
    page.check("input[name=numbers]")
    page.fill("#reason", "signed on paper, see DOC-88")
    page.click("button:has-text('Release chosen')")
    assert "released, with your reason kept" in page.text_content("[role=status]")
    with house.database.transaction() as tx:
        assert (
            tx.value("select release_reason from holds where code = 'SIGNOFF_MISSING'") == "signed on paper, see DOC-88"
        )


def test_an_invoice_opens_down_to_the_raw_record_without_scripts(open_page):
    page = open_page("/invoices/X01-DE01-2026-08", scripts=False)
    page.click(".tree > details >> nth=0 >> summary >> nth=0")
    page.click(".charge >> nth=0 >> summary >> nth=0")
    page.click(".charge >> nth=0 >> summary:has-text('approval was taken from')")
    assert page.locator(".charge .raw").first.is_visible()
    assert '"id": "e' in page.locator(".charge .raw").first.text_content()


def test_keys_find_and_walk_and_can_be_turned_off(open_page):
    page = open_page("/work")
    page.keyboard.press("j")
    assert page.locator("tr.lit").count() == 1
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "find"
    page.keyboard.type("X01-DE01")
    page.keyboard.press("Enter")
    page.wait_for_url("**/trace/prj_*")
    page.click("#keys summary")
    page.uncheck("#keys-on")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") != "find"


def test_a_token_behind_the_hash_signs_in(browser, base, house):
    with house.database.transaction() as tx:
        token = access.issue(tx, "Kim", ["work:read"])
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{base}/sign-in?next=/flows#token={token}")
    page.wait_for_url("**/flows")
    assert token not in page.url
    context.close()


def test_a_document_is_fetched_and_judged_without_scripts(open_page, tmp_path):
    page = open_page("/invoices/X01-DE01-2026-08", scripts=False)
    with page.expect_download() as fetched:
        page.click("a:has-text('PDF, marked DRAFT'), a:has-text('Factur-X')")
    file = tmp_path / "it.xml"
    file.write_bytes(b"<Order/>")
    assert fetched.value.suggested_filename.endswith(".pdf")
    page = open_page("/einvoices", scripts=False)
    page.set_input_files("#file", file)
    page.click("button:has-text('Judge it')")
    assert "unreadable" in page.text_content("#verdict")
    assert page.locator("#findings tbody tr").count() == 1


@pytest.mark.parametrize("scripts", [True, False])
def test_a_refused_write_is_planned_looked_at_and_applied(open_page, house, scripts):
    page = open_page("/quarantine", scripts=scripts)
    page.check("#deliveries tbody input[type=checkbox]")
    page.fill("#writes-why", "the ERP takes it now")
    page.click("#deliveries button.primary")
    page.wait_for_url("**/plans/*")
    assert page.locator("#items tbody tr").count() == 1
    assert "Does exactly this" in page.inner_text("#plan")
    page.click("button:has-text('Apply')")
    page.wait_for_selector("text=No worker lives")
    page.fill("#why", "looked at it again")
    page.click("button:has-text('Stop it')")
    page.wait_for_selector("text=Stopped after 0 of 1 records: Ana M: looked at it again")


def test_an_explained_invoice_prints_clean(open_page, tmp_path):
    """No navigation on paper, every line with its charges, pages numbered and whole: nothing is cut off at the side."""
    page = open_page("/invoices/X01-DE01-2026-08", width=700)
    page.emulate_media(media="print")
    printed = " ".join(page.inner_text("body").split())
    for gone in ("Quarantine", "Flows", "Open all", "Download the bundle", "Reproduce", "Sign out"):
        assert gone not in printed, gone
    for kept in ("1,567.50", "1,865.33", "Ida Holm", "Rate line", "Every level adds up"):
        assert kept in printed, kept
    assert page.locator("nav:visible, button:visible, input:visible").count() == 0
    assert all(one.is_visible() for one in page.locator(".charge > summary").all())
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    content = page.pdf(path=str(tmp_path / "invoice.pdf"), format="A4", prefer_css_page_size=True)
    sheets = re.findall(rb"/Type /Page\b", content)
    boxes = {tuple(map(float, box.split())) for box in re.findall(rb"/MediaBox \[([0-9. ]+)\]", content)}
    assert 1 <= len(sheets) <= 4
    assert [(round(width), round(height)) for _, _, width, height in boxes] == [(595, 842)]


def test_the_invoice_page_hands_out_its_bundle(open_page):
    page = open_page("/invoices/X01-DE01-2026-08")
    with page.expect_download() as given:
        page.click("text=Download the bundle")
    assert given.value.suggested_filename.endswith(".evidence.zip")
    assert rebuild.load(given.value.path().rename(given.value.path().with_suffix(".zip"))).manifest["documents"]
