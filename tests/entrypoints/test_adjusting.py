"""Adjustments and re-ratings over the API and on the pages: one proposes, another approves, the third sees it."""

import pytest
from wire import Api

import small_firm
from small_firm import entry, gid_of, hear
from trueup.store import access


@pytest.fixture(scope="module")
def house(database_url):
    """The small firm after its August, with an hour of September."""
    with small_firm.opened(database_url) as built:
        hear(built, "timely", "entry", entry("z1", 60, day="2026-09-01"))
        yield built


@pytest.fixture(scope="module")
def fact(house):
    """The hour's identifier."""
    with house.database.transaction() as tx:
        return tx.value("select gid from crosswalk where system = 'timely' and external_id = 'z1'")


@pytest.fixture(scope="module")
def people(house, base):
    """Two callers of the API."""

    def make(name):
        with house.database.transaction() as tx:
            return Api(base, access.issue(tx, name, ("ops:act", "money:read", "process:run")))

    return make("Ana"), make("Bo")


def test_one_proposes_another_approves_and_it_is_undone(people, fact):
    ana, bo = people
    asked = {"kind": "write_off", "facts": [fact], "reason": "client will not pay"}
    made = ana.post("/v1/adjustments", asked)
    assert made.status == 200, made.body
    number = made.json()["number"]
    assert made.json()["state"] == "proposed"
    assert ana.post(f"/v1/adjustments/{number}/approve", {}).json()["code"] == "held"
    assert bo.post(f"/v1/adjustments/{number}/approve", {}).json() == {"number": number, "state": "applied"}
    listed = ana.get("/v1/adjustments").json()["adjustments"]
    assert [(one["number"], one["state"], one["approved_by"]) for one in listed] == [(number, "applied", "Bo")]
    undone = bo.post(f"/v1/adjustments/{number}/undo", {"reason": "they pay after all"})
    assert undone.json()["state"] == "undone"
    assert ana.post("/v1/adjustments/99/reject", {}).json()["code"] == "refused"


def test_a_page_lists_approves_and_says_why_not(people, fact, reader):
    made = people[0].post("/v1/adjustments", {"kind": "courtesy", "facts": [fact], "reason": "a gift to <them>"})
    number = made.json()["number"]
    page = reader("GET", "/adjustments")
    assert page.status == 200
    assert b"a gift to &lt;them&gt;" in page.body
    assert reader("POST", f"/adjustments/{number}/approve").status == 303
    assert b"applied" in reader("GET", "/adjustments?state=applied").body
    again = reader("POST", f"/adjustments/{number}/approve")
    assert b"already" in reader("GET", again.headers["location"]).body
    assert reader("POST", f"/adjustments/{number}/undo", reason="not after all").status == 303


def test_a_rerating_is_shown_proposed_and_listed(house, people, reader):
    hear(
        house, "dealer", "price",
        {"id": "p1", "deal": "d-X01", "role": "Consultant", "rate": 160, "currency": "EUR", "from": "2026-01-01"},
    )  # fmt: skip
    dry = people[0].post("/v1/processes/reratings", {"since": "2026-08-01", "contract": "X01", "dry_run": True}).json()
    assert dry["totals"] == {"EUR": {"old": "1462.50", "new": "1560.00", "difference": "97.50"}}
    page = reader("GET", "/rerate?from=2026-08-01&contract=X01")
    assert page.status == 200
    assert b"97.50" in page.body
    assert b"there is no contract X77" in reader("GET", "/rerate?from=2026-08-01&contract=X77").body
    assert reader("POST", "/rerate", since="2026-08-01", reason="the price was wrong").status == 303
    assert b"re rate" in reader("GET", "/adjustments?state=proposed").body
    assert gid_of(house, "invoice", "X01-DE01-2026-08")


def test_entries_of_a_posted_invoice_are_credited_after_a_look(house, people, reader):
    with house.database.transaction() as tx:
        charges = tx.rows(
            "select fact, minutes, amount from charges where kind = 'time' and document = %s order by service_on, key",
            (gid_of(house, "invoice", "X01-DE01-2026-08"),),
        )
    first = charges[0]
    path = "/v1/invoices/X01-DE01-2026-08/credits"
    asked = {"entries": [{"fact": first["fact"], "minutes": 1}], "reason": "one minute too much", "dry_run": True}
    shown = people[0].post(path, asked).json()
    assert [(one["fact"], one["minutes"]) for one in shown["entries"]] == [(first["fact"], 1)]
    page = reader("GET", f"/invoices/R-1001/credit?look=true&entries={first['fact']}")
    assert page.status == 200
    assert b"The credit would be" in page.body
    nothing = people[0].post("/v1/invoices/X99/credits", asked)
    assert nothing.json()["code"] == "not_found"
    made = people[0].post(path, asked | {"dry_run": False}, key="credit-1")
    again = people[0].post(path, asked | {"dry_run": False}, key="credit-1")
    assert (made.status, made.body) == (200, again.body)
    with house.database.transaction() as tx:
        credit = tx.row("select status, body ->> 'net' as net from objects where gid = %s", (made.json()["credit"],))
        buckets = {
            row["bucket"]: row["quantity"]
            for row in tx.rows(
                "select bucket, quantity from buckets where fact = %s and quantity > 0", (first["fact"],)
            )
        }
    assert (credit["status"], credit["net"]) == ("draft", shown["net"])
    assert buckets == {"invoiced": first["minutes"] - 1, "credited": 1}


def test_what_is_not_on_an_invoice_is_not_credited_from_its_page(people, reader, fact):
    page = reader("GET", f"/invoices/R-1001/credit?look=true&entries={fact}")
    assert b"cannot be credited" in page.body
    told = reader("POST", "/invoices/R-1001/credit", entries=fact, reason="not there at all")
    assert (told.status, b"cannot be credited" in reader("GET", told.headers["location"]).body) == (303, True)
    assert reader("GET", "/invoices/R-7777/credit").status == 404
    assert people[0].post("/v1/invoices/R-1001/credits", {"reason": "no"}).status == 422
