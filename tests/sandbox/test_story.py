"""The story plays the whole firm into the five simulators, stage by stage, once, and says what the hub owes it."""

import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from trueup.kernel.errors import Broken
from trueup.sandbox.host import Host
from trueup.sandbox.oracle import expected
from trueup.sandbox.story import MARKS, STAGES
from trueup.sandbox.world import firm

SEED = 3
FIRM = firm(SEED)
Row = dict[str, Any]


@contextmanager
def sandbox(folder: Path) -> Iterator[Host]:
    """The five simulators without a server."""
    host = Host(folder, url="http://127.0.0.1:1", seed=SEED)
    try:
        yield host
    finally:
        host.close()


def product(host: Host, system: str) -> Any:
    """One product, with what people can do in it."""
    return host.simulators[system]


# What the hub leaves behind, written as the products show it


def make_workspaces(host: Host) -> None:
    kantata = product(host, "kantata")
    for project in FIRM["projects"]:
        row = kantata.create("workspaces", {"title": f"{project['code']} {project['name']}"})
        kantata.create("external_references", project_reference(project["code"], row["id"]))


def project_reference(code: str, workspace: str) -> Row:
    ours = {"service_name": "trueup", "service_model": "project", "service_model_ref": f"prj_{code}"}
    return ours | {"subject_type": "Workspace", "subject_id": workspace}


def make_stories(host: Host) -> None:
    kantata = product(host, "kantata")
    deals = {deal["code"]: deal for deal in FIRM["deals"]}
    for project in FIRM["projects"]:
        workspace = kantata.titled("workspaces", project["code"])["id"]
        for phase in project["phases"]:
            kantata.create("stories", {"workspace_id": workspace, "title": phase})
        for one in deals[project["deal"]]["milestones"]:
            title = f"{one['key']} {one['name']}"
            kantata.create("stories", {"workspace_id": workspace, "title": title, "story_type": "milestone"})


def make_invoices(host: Host, stage: str) -> None:
    """Write the drafts the oracle expects after the stage."""
    netsuite = product(host, "netsuite")
    subsidiaries = {row["tranPrefix"]: id for id, row in netsuite.store.table("subsidiary").items()}
    customers = {row["companyName"]: id for id, row in netsuite.store.table("customer").items()}
    known = invoices(host)
    for code, invoice in expected(FIRM, stage)["books"]["invoices"].items():
        if code in known:
            continue
        entity, name = subsidiaries[invoice["entity"]], invoice["customer"]
        if name not in customers:
            customers[name] = netsuite.create("customer", {"companyName": name, "subsidiary": entity})["id"]
        lines = [
            {"item": "1", "quantity": line["quantity"], "rate": line["rate"], "amount": line["net"]}
            | {"custcol_trueup_line": key}
            for key, line in reversed(invoice["lines"].items())
        ]
        head = {"entity": customers[name], "subsidiary": entity, "tranDate": invoice["date"], "item": lines}
        netsuite.create("invoice", head | {"custbody_trueup_code": code, "taxTotal": invoice["tax"]})


def invoices(host: Host) -> dict[str, Row]:
    rows = product(host, "netsuite").store.table("invoice").values()
    return {row["custbody_trueup_code"]: row for row in rows}


def do_the_hubs_part(host: Host, stage: str | None) -> None:
    if stage == "deals_won":
        make_workspaces(host)
    elif stage == "staffed":
        make_stories(host)
    elif stage in ("august", "september", "october"):
        make_invoices(host, stage)


def play(host: Host, until: str) -> None:
    while host.story().stage != until:
        stage = host.story().advance()
        if stage != until:
            do_the_hubs_part(host, stage)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """The story played to its end."""
    with sandbox(tmp_path_factory.mktemp("story")) as host:
        play(host, "planted")
        yield host


def rows_of(host: Host, system: str, table: str) -> list[Row]:
    return list(host.simulators[system].store.table(table).values())


# What the products hold at the end


def test_the_stages_come_in_order_and_the_story_ends(played: Host) -> None:
    assert played.state()["stage"] == "planted"
    assert played.state()["stages"] == list(STAGES)
    with pytest.raises(Broken, match="the story is over"):
        played.story().advance()


def test_everybody_is_in_the_hr_system_with_what_they_cost(played: Host) -> None:
    employees = {row["employeeNumber"]: row for row in rows_of(played, "bamboohr", "employee")}
    assert set(employees) == {person["worker_number"] for person in FIRM["people"]}
    (gone,) = [person for person in FIRM["people"] if person["terminated_on"]]
    left = employees[gone["worker_number"]]
    assert (left["terminationDate"], left["status"]) == ("2026-09-15", "Inactive")
    assert Counter(row["status"] for row in employees.values()) == {"Active": 39, "Inactive": 1}
    costs = {
        (row["employeeId"], row["startDate"], row["rate"]["value"], row["rate"]["currency"])
        for row in rows_of(played, "bamboohr", "compensation")
    }
    ids = {row["employeeNumber"]: row["id"] for row in employees.values()}
    assert costs == {
        (ids[person["worker_number"]], rate["valid_from"], rate["amount"], rate["currency"])
        for person in FIRM["people"]
        for rate in person["cost_rates"]
    }


def test_the_crm_holds_every_deal_with_its_terms(played: Host) -> None:
    deals = {row["Deal_Code__c"]: row for row in rows_of(played, "salesforce", "Opportunity")}
    accounts = {row["Id"]: row["Name"] for row in rows_of(played, "salesforce", "Account")}
    customers = {customer["key"]: customer["name"] for customer in FIRM["customers"]}
    lines = {row["Line_Key__c"]: row for row in rows_of(played, "salesforce", "OpportunityLineItem")}
    (reopened,) = [change["deal"] for change in FIRM["planted"] if change["kind"] == "status"]
    stages = {"won": "Closed Won", "open": "Prospecting", "proposal": "Proposal", "lost": "Closed Lost"}
    for deal in FIRM["deals"]:
        row = deals[deal["code"]]
        assert row["StageName"] == ("Negotiation" if deal["code"] == reopened else stages[deal["stage"]])
        assert (accounts[row["AccountId"]], row["Amount"]) == (customers[deal["customer"]], deal["amount"])
        assert row["CloseDate"] == (deal["won_on"] or deal["starts_on"])
        for line in deal["lines"]:
            item = lines[line["key"]]
            assert (item["OpportunityId"], item["TotalPrice"], item["Cap__c"]) == (
                row["Id"],
                line["amount"],
                line["cap"],
            )
            share = item["Markup_Percent__c"] and Decimal(item["Markup_Percent__c"]) / 100
            assert share == (line["markup_share"] and Decimal(line["markup_share"]))
    assert len(rows_of(played, "salesforce", "Rate_Card_Line__c")) == sum(len(deal["rates"]) for deal in FIRM["deals"])
    signed = {row["Milestone_Key__c"]: row["Signed_Off_On__c"] for row in rows_of(played, "salesforce", "Milestone__c")}
    assert signed == {one["key"]: one["signed_on"] for deal in FIRM["deals"] for one in deal["milestones"]}


def test_the_psa_holds_all_time_but_the_entry_that_was_deleted(played: Host) -> None:
    (deleted,) = [change["time"] for change in FIRM["planted"] if change["kind"] == "missing"]
    kept = [entry for entry in FIRM["time"] if entry["key"] != deleted]
    entries = rows_of(played, "kantata", "time_entries")
    by_key = {entry["id"]: entry for entry in entries}
    assert len(entries) == len(kept)
    assert sum(entry["time_in_minutes"] for entry in entries) == sum(entry["minutes"] for entry in kept)
    assert sum(entry["approved"] for entry in entries) == sum(entry["approved_in"] is not None for entry in kept)
    assert [entry["date_performed"] for _, entry in sorted(by_key.items())] == [entry["date"] for entry in kept]
    sheets = {row["id"]: row["status"] for row in rows_of(played, "kantata", "timesheet_submissions")}
    assert all((sheets[entry["active_submission_id"]] == "approved") == entry["approved"] for entry in entries)


def test_the_psa_shows_who_works_where_and_what_was_reached(played: Host) -> None:
    workspaces = {row["id"]: row for row in rows_of(played, "kantata", "workspaces")}
    users = {row["id"]: row["email_address"] for row in rows_of(played, "kantata", "users")}
    emails = {person["key"]: person["email"] for person in FIRM["people"]}
    assert {row["status"]["message"] for row in workspaces.values()} == {"In Progress"}
    resources = {row["id"]: row for row in rows_of(played, "kantata", "workspace_resources")}
    planned = {
        (workspaces[row["workspace_id"]]["title"].split()[0], users[resource["user_id"]], row["minutes"])
        for row in rows_of(played, "kantata", "workspace_allocations")
        for resource in [resources[row["workspace_resource_id"]]]
    }
    assert planned == {
        (project["code"], emails[member["person"]], member["planned_minutes"])
        for project in FIRM["projects"]
        for member in project["staff"]
    }
    leads = {row["title"].split()[0]: users[row["primary_maven_id"]] for row in workspaces.values()}
    assert leads == {project["code"]: emails[project["manager"]] for project in FIRM["projects"]}
    reached = {
        row["title"].split()[0]
        for row in rows_of(played, "kantata", "stories")
        if row["story_type"] == "milestone" and row["state"] == "completed"
    }
    milestones = [one for deal in FIRM["deals"] for one in deal["milestones"]]
    assert reached == {one["key"] for one in milestones if one["completed_on"]}
    stories = {row["title"].split()[0]: row for row in rows_of(played, "kantata", "stories")}
    changes = {row["id"]: row for row in rows_of(played, "kantata", "story_state_changes")}
    for one in milestones:
        days = [changes[id]["created_at"][:10] for id in stories[one["key"]]["story_state_change_ids"]]
        assert days == ([one["completed_on"]] if one["completed_on"] else [])


def test_expense_reports_are_submitted_and_all_but_one_approved(played: Host) -> None:
    reports = {row["id"]: row["status"] for row in rows_of(played, "concur", "reports")}
    wanted = {line["report"]: "approved" if line["approved_in"] else "submitted" for line in FIRM["expenses"]}
    assert reports == wanted
    entries = [
        (document["document"]["report"]["reportId"], entry["legacyEntryId"], entry["entryApprovedAmount"])
        for document in rows_of(played, "concur", "documents")
        for entry in document["document"]["expenseEntry"]
    ]
    assert sorted(entries) == sorted(
        (line["report"], line["line"], line["amount"]) for line in FIRM["expenses"] if line["approved_in"]
    )


def test_accounts_receivable_posts_books_credits_and_raises_as_foretold(played: Host) -> None:
    told = expected(FIRM, "planted")["systems"]["netsuite"]
    shown = invoices(played)
    assert set(shown) == set(told["invoices"])
    for code, invoice in told["invoices"].items():
        row = shown[code]
        assert (row["approvalStatus"], Decimal(row["total"])) == ("2", Decimal(invoice["gross"])), code
        assert Decimal(row["amountRemaining"]) == Decimal(invoice["balance"]), code
    paid: dict[str, Decimal] = defaultdict(Decimal)
    for row in rows_of(played, "netsuite", "customerPayment"):
        paid[row["memo"].removeprefix("PAY-")] += Decimal(row["payment"])
    assert paid == {code: Decimal(amount) for code, amount in told["payments"]["invoices"].items()}
    ((code, credit),) = told["credit_memos"].items()
    (memo,) = rows_of(played, "netsuite", "creditMemo")
    assert memo["createdFrom"] == shown[code]["id"]
    assert (Decimal(memo["total"]), Decimal(memo["applied"])) == (Decimal(credit["gross"]), Decimal(credit["applied"]))


# How it goes on


def test_what_the_hub_has_not_made_is_named_before_anybody_acts(tmp_path: Path) -> None:
    with sandbox(tmp_path) as host:
        play(host, "deals_won")
        with pytest.raises(Broken, match=r"cannot go on to staffed: .*kantata: workspace of project D01-"):
            host.story().advance()
        make_workspaces(host)
        assert host.story().advance() == "staffed"
        before = {name: dict(rows) for name, rows in product(host, "bamboohr").store.tables.items()}
        with pytest.raises(Broken, match=r"kantata: story .* in the workspace of"):
            host.story().advance()
        assert before == product(host, "bamboohr").store.tables
        make_stories(host)
        assert host.story().advance() == "august"
        with pytest.raises(Broken, match=r"august_posted: .*netsuite: invoice with custbody_trueup_code D\d\d-"):
            host.story().advance()


def test_somebody_elses_workspace_is_not_taken_for_the_hubs(tmp_path: Path) -> None:
    with sandbox(tmp_path) as host:
        play(host, "deals_won")
        for project in FIRM["projects"]:
            product(host, "kantata").create("workspaces", {"title": f"{project['code']} by hand"})
        with pytest.raises(Broken, match="workspace of project"):
            host.story().advance()


def test_a_restarted_sandbox_goes_on_with_the_next_stage(tmp_path: Path) -> None:
    with sandbox(tmp_path) as host:
        play(host, "staffed")
        make_stories(host)
    with sandbox(tmp_path) as host:
        assert host.state()["stage"] == "staffed"
        assert host.story().advance() == "august"
        tables = host.dump()
    with sandbox(tmp_path) as host:
        assert host.state()["stage"] == "august"
        assert host.dump() == tables


def content(host: Host) -> dict[str, Any]:
    """Everything people wrote, without stamps and without what is numbered in order of writing."""
    stamps = {"created_at", "updated_at", "CreatedDate", "LastModifiedDate", "SystemModstamp", "submitted_at"}
    told = {"salesforce": ("Opportunity", "OpportunityLineItem", "Milestone__c"), "bamboohr": ("employee",)}
    told |= {"kantata": ("time_entries", "timesheet_submissions", "workspace_allocations"), "concur": ("reports",)}
    return {
        f"{system}/{table}": {
            id: {name: value for name, value in row.items() if name not in stamps}
            for id, row in host.simulators[system].store.table(table).items()
        }
        for system, tables in told.items()
        for table in tables
    }


def cut(journal: Path, share: float) -> None:
    """Cut a journal as a kill in the middle of its last line does."""
    whole = journal.read_bytes()
    start = whole.rindex(b"\n", 0, len(whole) - 1) + 1
    journal.write_bytes(whole[: start + int((len(whole) - start) * share)])


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_stage_that_was_killed_in_the_middle_ends_in_the_same_place(tmp_path: Path, share: float) -> None:
    with sandbox(tmp_path) as host:
        play(host, "staffed")
        make_stories(host)
        host.story().advance()
        whole = content(host)
    for system in ("kantata", "concur"):
        cut(tmp_path / "sim" / f"{system}.jsonl", share)
    with sandbox(tmp_path) as host:
        assert host.state()["stage"] == "staffed"
        assert "august" in product(host, "salesforce").store.table(MARKS)
        assert content(host) != whole
        assert host.story().advance() == "august"
        assert content(host) == whole


def test_a_desk_asked_twice_changes_nothing(tmp_path: Path) -> None:
    with sandbox(tmp_path) as host:
        play(host, "deals_won")
        make_workspaces(host)
        host.story().advance()
        make_stories(host)
        host.story().advance()
        before = content(host)
        waiting = {name: len(host.simulators[name].store.table("_outgoing")) for name in host.simulators}
        for simulator in host.simulators.values():
            simulator.store.delete(MARKS, "august")
        assert host.story().advance() == "august"
        assert content(host) == before
        assert waiting == {name: len(host.simulators[name].store.table("_outgoing")) for name in host.simulators}


def test_a_month_of_work_takes_less_than_two_seconds(tmp_path: Path) -> None:
    with sandbox(tmp_path) as host:
        play(host, "august_posted")
        began = time.process_time()
        assert host.story().advance() == "september"
        assert time.process_time() - began < 2
