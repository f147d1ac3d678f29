"""The pages over a real server and database: who may see what, what they show, and that nothing foreign gets in."""

import hashlib
import html
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlencode

import pytest
from wire import EVERYTHING, OURS, call

import small_firm
from small_firm import gid_of
from trueup.entrypoints.cli import metrics as metrics_command
from trueup.entrypoints.cli.output import flat
from trueup.entrypoints.web import pages as pages_module
from trueup.store import budgets

VOID = frozenset({"br", "col", "hr", "img", "input", "link", "meta", "rect", "line", "use", "path", "circle"})


@pytest.fixture(scope="module")
def house(database_url):
    """The small firm after its August."""
    with small_firm.opened(database_url) as built:
        small_firm.raise_behind_our_back(built)
        yield built


@pytest.fixture(scope="module")
def ana(visit):
    """A reader who may see and do everything."""
    return visit(*EVERYTHING)


def every_page(house):
    """Return one address of each page."""
    with house.database.transaction() as tx:
        messages = [row["number"] for row in tx.rows("select number from inbox order by number")]
    return [
        "/work", "/flows", "/executive", "/metrics", "/billing", "/billing?reason=APPROVAL_MISSING", "/billing?show=differ",
        "/billing?reason=TAX_UNDETERMINED&about=deals&all=1", "/invoices/R-1001", "/compare", "/projects",
        "/projects?entity=DE01&blocked=1", "/projects/X01-DE01", "/projects/X03-DE01", "/trace", "/trace?id=X0",
        f"/trace/{gid_of(house, 'project', 'X01-DE01')}", f"/trace/{gid_of(house, 'contract', 'X02')}",
        "/quarantine", "/einvoices", "/billing/run", "/billing/run?period=2026-08&entity=DE01&look=true", "/labour", "/labour?period=2026-08&entity=DE01", "/intake", "/intake?hours=744", "/events", "/events?name=invoice.posted", *(f"/messages/{number}" for number in messages),
    ]  # fmt: skip


class Shape(HTMLParser):
    """Checks that tags close in order, and collects what a page is made of."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.attributes, self.words = [], [], [], []
        self.feed(text)
        assert self.open == [], f"left open: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.attributes += [name for name, _ in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open[-1:] == [tag], f"</{tag}> closes {self.open[-1:]}"
        self.open.pop()

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words))


def test_without_a_token_every_page_leads_to_sign_in_and_back(base, house):
    for path in every_page(house):
        answer = call(base, "GET", path)
        assert answer.status == 303
        assert answer.headers["location"].startswith("/sign-in?next=/")


def test_every_page_is_whole_and_runs_no_script_of_its_own(ana, house):
    for path in every_page(house):
        answer = ana(path)
        assert answer.status == 200, path
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        page = Shape(answer.body.decode())
        assert not {name for name in page.attributes if name == "style" or name.startswith("on")}, path
        assert all("src" in attributes for tag, attributes in page.tags if tag == "script"), path
        assert "style" not in {tag for tag, _ in page.tags}, path
        assert [tag for tag, _ in page.tags].count("h1") == 1, path


def test_every_link_of_every_page_leads_somewhere(ana, house):
    seen = set()
    for path in every_page(house):
        page = Shape(ana(path).body.decode())
        seen |= {attributes["href"].partition("#")[0] for tag, attributes in page.tags if tag == "a"}
    for link in sorted(seen - {""}):
        assert link.startswith("/"), link
        assert ana(link).status in (200, 303), link


def test_every_field_has_a_label(ana, house):
    for path in every_page(house):
        page = Shape(ana(path).body.decode())
        labelled = {attributes.get("for") for tag, attributes in page.tags if tag == "label"}
        for tag, attributes in page.tags:
            if tag in ("input", "select") and attributes.get("type") not in ("hidden",):
                inside = attributes.get("id") == "keys-on"
                assert attributes.get("aria-label") or attributes.get("id") in labelled or inside, (path, attributes)


def test_a_good_token_becomes_a_cookie_scripts_cannot_read(base, ana):
    answer = call(base, "POST", "/sign-in", urlencode({"token": ana.token, "next": "/billing"}).encode(), OURS)
    assert (answer.status, answer.headers["location"]) == (303, "/billing")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie


@pytest.mark.parametrize("away", ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)"])
def test_signing_in_never_leads_to_another_site(base, ana, away):
    answer = call(base, "POST", "/sign-in", urlencode({"token": ana.token, "next": away}).encode(), OURS)
    assert answer.headers["location"] == "/"


def test_a_wrong_token_is_refused_and_sets_nothing(base):
    answer = call(base, "POST", "/sign-in", b"token=tu_wrong&next=/", OURS)
    assert answer.status == 403
    assert "set-cookie" not in answer.headers
    assert "not known" in answer.body.decode()


def test_signing_out_forgets_the_token(ana):
    answer = ana.post("/sign-out", {})
    assert (answer.status, answer.headers["location"]) == (303, "/sign-in")
    assert 'trueup_token=""' in answer.headers["set-cookie"]


def test_a_refresh_with_a_dead_token_sends_the_whole_page_to_sign_in(base):
    answer = call(base, "GET", "/work", headers={"Cookie": "trueup_token=dead", "HX-Request": "true"})
    assert (answer.status, answer.headers["hx-redirect"]) == (204, "/sign-in")


def test_a_reader_without_money_sees_no_amount_and_no_way_to_one(visit, house):
    reader = visit("work:read")
    for path in (
        "/billing",
        "/executive",
        "/compare",
        "/projects",
        "/projects/X01-DE01",
        "/invoices/R-1001",
        "/einvoices",
        "/invoices/R-1001/document?format=pdf",
    ):
        answer = reader(path)
        assert answer.status == 403
        assert "money:read" in answer.body.decode()
    for path in (
        "/work",
        "/flows",
        "/quarantine",
        "/intake",
        "/labour",
        "/labour?period=2026-08&entity=DE01",
        "/events",
        f"/trace/{gid_of(house, 'invoice', 'X01-DE01-2026-08')}",
    ):
        text = Shape(reader(path).body.decode()).text
        for figure in ("8,000.00", "5,000.00", "1567.50", "1,567.50", "1,865.33", "1865.33"):
            assert figure not in text, (path, figure)
    assert 'href="/billing"' not in reader("/work").body.decode()


def test_a_reader_without_cost_sees_no_pay_no_cost_and_no_margin(visit, ana, house):
    reader = visit("work:read", "money:read")
    with house.database.transaction() as tx:
        pay = tx.value("select number from inbox where system = 'folks' and object = 'pay'")
        rate = tx.value("select gid from objects where kind = 'cost_rate'")
        journal = tx.value("select gid from objects where body ->> 'code' = 'COST-DE01-2026-08'")
    shown = {"/projects/X01-DE01": "775.00", "/projects": "50.6", "/executive": "50.6", f"/messages/{pay}": '"rate": 60',
             f"/trace/{rate}": "60.00", f"/trace/{journal}": "675.00"}  # fmt: skip
    for path, figure in shown.items():
        assert figure in Shape(ana(path).body.decode()).text, path
        assert figure not in Shape(reader(path).body.decode()).text, path


def test_the_work_list_shows_money_owner_and_the_next_step(ana):
    text = Shape(ana("/work").body.decode()).text
    assert "Deal not set up: tax not determined" in text
    assert "8,000.00 EUR" in text
    assert "Amount differs: invoice in Ledgerly" in text


def test_an_invoice_reads_from_the_total_to_the_raw_record_without_scripts(ana):
    text = Shape(ana("/invoices/X01-DE01-2026-08").body.decode()).text
    for words in (
        "R-1001", "1,865.33", "435 min × 150.00 ÷ 60 = 1,087.50", "timely.entry -> time_entry v1", '"minutes": 435',
        "unchanged since", "PAY-7", "Ledgerly differs.", "Open in the ERP",
    ):  # fmt: skip
        assert words in text, words


def test_the_comparison_names_each_break_and_each_difference(ana):
    text = Shape(ana("/compare").body.decode()).text
    for words in (
        "Amount differs",
        "1,667.50",
        "ERP has 100.00 EUR more on its invoices",
        "not set up: the deal is held",
    ):
        assert words in text, words


def test_one_match_goes_straight_to_the_record_and_several_are_listed(ana, house):
    answer = ana("/trace?id=X01-DE01")
    assert (answer.status, answer.headers["location"]) == (303, f"/trace/{gid_of(house, 'project', 'X01-DE01')}")
    assert "Nothing is called that." in ana("/trace?id=nobody").body.decode()


def test_what_a_reader_or_a_vendor_writes_is_never_markup(ana, house):
    answer = ana("/trace?" + urlencode({"id": "<script>alert(1)</script>"}))
    assert "<script>alert" not in answer.body.decode()
    (number,) = small_firm.hear(
        house, "timely", "entry", small_firm.entry("e9", 15, notes="<img src=x onerror=alert(1)>")
    )
    with house.database.transaction() as tx:
        gid = tx.value("select gid from inbox where number = %s", (number,))
    for path in (f"/messages/{number}", f"/trace/{gid}"):
        page = ana(path).body.decode()
        assert "<img" not in page
        assert "&lt;img" in page


@pytest.mark.parametrize(
    "path", ["/nothing", "/invoices/nope", "/projects/nope", "/messages/999999999", "/trace/nope/x"]
)
def test_what_does_not_exist_is_a_page_that_says_how_to_go_on(ana, path):
    answer = ana(path)
    if answer.status == 303:
        answer = ana(answer.headers["location"])
        assert "Nothing is called that." in answer.body.decode()
    else:
        assert answer.status == 404
        assert "Find it" in answer.body.decode()


def test_a_release_keeps_who_and_why_and_is_told(ana, house):
    with house.database.transaction() as tx:
        number = tx.value("select number from holds where code = 'RATE_MISSING' and released_at is null")
    answer = ana.post(
        "/billing/release",
        {"numbers": number, "reason": "agreed by mail of 3 Sep", "back": "/billing?reason=RATE_MISSING"},
    )
    assert answer.status == 303
    assert "released, with your reason kept" in ana(answer.headers["location"]).body.decode()
    with house.database.transaction() as tx:
        hold = tx.row("select released_by, release_reason from holds where number = %s", (number,))
        told = tx.value("select data ->> 'reason' from events where key = %s", (f"hold.released/{number}",))
    assert hold == {"released_by": "Ana M", "release_reason": "agreed by mail of 3 Sep"}
    assert told == "agreed by mail of 3 Sep"


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "", "Origin": "https://evil.example"},
    ],
    ids=["cross-site", "same-site", "foreign-origin"],
)
def test_a_form_of_another_site_does_nothing(ana, house, headers):
    with house.database.transaction() as tx:
        number = tx.value("select number from holds where code = 'APPROVAL_MISSING' and released_at is null")
    answer = ana.post("/billing/release", {"numbers": number, "reason": "because I say so"}, **headers)
    assert answer.status == 403
    with house.database.transaction() as tx:
        assert tx.value("select released_at from holds where number = %s", (number,)) is None


def test_a_form_from_our_own_origin_is_taken_from_a_browser_without_fetch_metadata(ana, base):
    headers = {"Cookie": f"trueup_token={ana.token}", "Origin": base, "Content-Type": OURS["Content-Type"]}
    assert call(base, "POST", "/plans", b"verb=replay&reason=look+again&records=999999999", headers).status == 303


def test_acting_needs_the_scope(visit):
    reader = visit("work:read", "money:read")
    assert reader.post("/billing/release", {"numbers": 1, "reason": "because I say so"}).status == 403
    assert "Release chosen" not in reader("/billing").body.decode()


@pytest.mark.parametrize(
    "fields", [{"reason": "long enough"}, {"numbers": 1, "reason": "x"}, {"numbers": "one", "reason": "long enough"}]
)
def test_a_release_without_items_or_reason_says_what_is_missing(ana, fields):
    answer = ana.post("/billing/release", fields)
    assert answer.status == 422
    assert "Nothing was done" in answer.body.decode()


@pytest.mark.parametrize(
    ("verb", "found"),
    [
        ("replay", "select number::text from inbox where state = 'quarantined'"),
        ("retry", "select key from deliveries where state = 'rejected'"),
    ],
)
def test_what_failed_is_planned_from_the_quarantine_and_nothing_is_done_yet(ana, house, verb, found):
    with house.database.transaction() as tx:
        record = tx.value(found)
    fields = {"verb": verb, "records": record, "reason": "the cause is gone", "back": "/quarantine"}
    page = ana(ana.post("/plans", fields).headers["location"]).body.decode()
    assert record in page
    with house.database.transaction() as tx:
        assert tx.value(found) == record
    refused = ana.post("/plans", {**fields, "records": "999999999"}).headers["location"]
    assert refused.startswith("/quarantine?refused=there+is+no+")
    assert "there is no" in ana(refused).body.decode()


def test_static_files_are_ours_or_vendored_as_noted(base):
    folder = Path(pages_module.__file__).parent / "static"
    noted = (folder / "vendor" / "README.md").read_text("utf-8")
    for file in sorted((folder / "vendor").glob("*.js")):
        assert hashlib.sha256(file.read_bytes()).hexdigest() in noted
        answer = call(base, "GET", f"/static/vendor/{file.name}")
        assert (answer.status, answer.body) == (200, file.read_bytes())
    assert call(base, "GET", "/static/../pages.py").status in (404, 400)


def test_lists_come_as_files_with_exact_figures(ana, visit):
    held = ana("/billing?csv=held")
    assert held.headers["content-type"] == "text/csv; charset=utf-8"
    assert "8000.00 EUR" in held.body.decode()
    assert "1567.50" in ana("/billing?csv=invoices").body.decode()
    assert "ERP has 100.00 EUR more on its invoices" in ana("/compare?csv=deals").body.decode()
    assert "775.00" in ana("/projects?csv=projects").body.decode()
    assert "775.00" not in visit("work:read", "money:read")("/projects?csv=projects").body.decode()
    assert "8000.00" not in visit("work:read")("/work?csv=work").body.decode()


def test_page_api_and_command_line_show_the_same_figures(house, api, ana):
    told = api("money:read", "cost:read").get("/v1/metrics").json()
    with house.database.transaction() as tx:
        said = flat(metrics_command.answer(tx, "", cost=True))
    assert said == told
    page = ana("/metrics").body.decode()
    shown = re.findall(r'data-metric="([a-z0-9_]+)">(.*?)</td>', page)
    assert [name for name, _ in shown] == [one["name"] for one in told["figures"]]
    for (_, cell), one in zip(shown, told["figures"], strict=True):
        text = re.sub(r"<[^>]+>|[, \u202f\u2009\u00a0]", "", cell)
        assert one["value"] is None or text.replace("−", "-").startswith(one["value"]), (cell, one)
    for one in told["definitions"]:
        assert html.escape(one["formula"], quote=False) in page or one["formula"] in html.unescape(page)
    executive = ana("/executive").body.decode()
    assert next(one["value"] for one in told["figures"] if one["name"] == "dso") in executive


def test_every_figure_leads_to_its_records(ana, api):
    told = api("money:read").get("/v1/metrics").json()
    assert "margin_actual" not in {one["name"] for one in told["definitions"]}
    for drill in {one["drill"] for one in told["definitions"]}:
        assert ana(drill).status == 200


def test_the_flows_page_says_who_uses_an_account_and_what_stopped_it(ana, house):
    first, second = sorted(house.accounts())[:2]
    with house.database.transaction() as tx:
        for account in (first, second):
            budgets.open_account(tx, account, 10.0, 4, 30.0)
        lot = budgets.take(tx, first, "one", "posting", "DE01", 1)
        budgets.give_back(tx, first, [budgets.Returned(lot.lot, 1, 0)], well=True)
        budgets.slow_down(tx, first, 300.0, overload=True)
        budgets.slow_down(tx, first, 300.0, overload=True)
        budgets.may_sign_in(tx, second, "one", "mark")
        budgets.sign_in_refused(tx, second, "they do not know us")
    text = Shape(ana("/flows").body.decode()).text
    assert "posting · DE01 · 1 call" in text
    assert "asked to wait" in text
    assert "slowed down from 4" in text
    assert "sign-in stopped" in text
    assert f"trueup budget resume {second}" in text
    with house.database.transaction() as tx:
        tx.run("delete from budgets")
        tx.run("delete from sign_ins")
