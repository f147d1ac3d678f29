"""What is read from the simulators is what is expected, when the hub's part is done by hand to the letter."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trueup.sandbox.host import Host
from trueup.sandbox.oracle import STAGES, compare, expected, read_systems
from trueup.sandbox.world import firm

SEED = 4
FIRM = firm(SEED)
Row = dict[str, Any]


class Scribe:
    """Writes into the simulators what the oracle says the hub must have written, with a hub's keys."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.people = {person["key"]: person for person in FIRM["people"]}
        self.deals = {deal["code"]: deal for deal in FIRM["deals"]}
        self.workspaces: dict[str, str] = {}
        self.jobs: dict[str, str] = {}

    def product(self, system: str) -> Any:
        return self.host.simulators[system]

    def ids(self, table: str, name: str) -> dict[str, str]:
        """Natural key -> internal id of a table of the ERP."""
        return {str(row[name]): id for id, row in self.product("netsuite").store.table(table).items() if name in row}

    def write(self, stage: str) -> None:
        wanted = expected(FIRM, stage)
        if stage == "opening":
            self.people_in_erp()
        elif stage == "deals_won":
            self.projects()
        elif stage == "staffed":
            self.allocations()
        elif stage != "planted":
            self.invoices(wanted["books"]["invoices"])
            self.states(wanted["systems"]["kantata"]["references"])
            self.journals(wanted["books"]["journals"])
            self.confirmations()
        if stage != "planted":
            self.write_backs(wanted["systems"]["salesforce"]["deals"])

    def people_in_erp(self) -> None:
        subsidiaries = self.ids("subsidiary", "tranPrefix")
        for person in FIRM["people"]:
            row = {"entityId": f"{person['worker_number']} {person['name']}", "lastName": person["name"]}
            row |= {"email": person["email"], "subsidiary": subsidiaries[person["entity"]]}
            self.product("netsuite").create("employee", row)

    def projects(self) -> None:
        erp, psa = self.product("netsuite"), self.product("kantata")
        subsidiaries = self.ids("subsidiary", "tranPrefix")
        names = {customer["key"]: customer["name"] for customer in FIRM["customers"]}
        for project in FIRM["projects"]:
            code, entity = project["code"], subsidiaries[project["entity"]]
            lines = [line for line in self.deals[project["deal"]]["lines"] if line["legal_entity"] == project["entity"]]
            buyer = names[lines[0]["bill_to"]]
            known = self.ids("customer", "companyName")
            if buyer not in known:
                erp.create("customer", {"companyName": buyer, "subsidiary": entity})
            row = {"entityId": code, "companyName": project["name"], "subsidiary": entity}
            job = erp.create("job", row | {"parent": self.ids("customer", "companyName")[buyer]})["id"]
            workspace = psa.create("workspaces", {"title": f"{code} {project['name']}"})["id"]
            ours = {"service_name": "trueup", "service_model": "project", "service_model_ref": f"prj_{code}"}
            psa.create("external_references", ours | {"subject_type": "Workspace", "subject_id": workspace})
            self.jobs[code], self.workspaces[code] = job, workspace
            keys = {line["key"] for line in lines}
            steps = [one for one in self.deals[project["deal"]]["milestones"] if one["line_key"] in keys]
            titles = [(phase, "deliverable") for phase in project["phases"]]
            titles += [(f"{one['key']} {one['name']}", "milestone") for one in steps]
            for title, kind in titles:
                erp.create("projectTask", {"title": title, "company": job})
                psa.create("stories", {"workspace_id": workspace, "title": title, "story_type": kind})

    def allocations(self) -> None:
        employees = self.ids("employee", "email")
        for project in FIRM["projects"]:
            for member in project["staff"]:
                row = {
                    "allocationResource": employees[self.people[member["person"]]["email"]],
                    "project": self.jobs[project["code"]],
                    "startDate": "2026-08-01",
                    "endDate": "2026-12-31",
                    "allocationAmount": str(member["planned_minutes"] / 60),
                    "allocationUnit": "H",
                    "allocationType": "1",
                }
                self.product("netsuite").create("resourceAllocation", row)

    def invoices(self, wanted: Row) -> None:
        erp = self.product("netsuite")
        subsidiaries, customers = self.ids("subsidiary", "tranPrefix"), self.ids("customer", "companyName")
        taxes, known = self.ids("salesTaxItem", "itemId"), self.ids("invoice", "custbody_trueup_code")
        for code, invoice in wanted.items():
            if code in known:
                continue
            lines = []
            for key, line in invoice["lines"].items():
                row = {"item": "1", "amount": line["net"], "custcol_trueup_line": key}
                row["taxCode"] = taxes[invoice["tax_treatment"]]
                # Expenses and fees have no rate: what they count is nobody's business.
                timed = key.startswith(("1-time", "3-overage"))
                lines.append(
                    row | ({"quantity": line["quantity"], "rate": line["rate"]} if timed else {"quantity": "7"})
                )
            head = {
                "externalId": f"inv_{code}",
                "entity": customers[invoice["customer"]],
                "job": self.jobs[invoice["project"]],
                "subsidiary": subsidiaries[invoice["entity"]],
                "tranDate": invoice["date"],
                "dueDate": invoice["due"],
                "custbody_trueup_code": code,
                "custbody_trueup_period": invoice["period"],
                "taxTotal": invoice["tax"],
            }
            erp.create("invoice", head | {"item": lines})

    def states(self, wanted: Row) -> None:
        psa = self.product("kantata")
        known = {row["service_model_ref"]: id for id, row in psa.store.table("external_references").items()}
        for project, states in wanted.items():
            for code, status in states.items():
                if (id := known.get(f"inv_{code}")) is not None:
                    psa.edit("external_references", id, {"external_status": status})
                    continue
                ours = {
                    "service_name": f"trueup {code}",
                    "service_model": "invoice",
                    "service_model_ref": f"inv_{code}",
                }
                place = {"subject_type": "Workspace", "subject_id": self.workspaces[project]}
                psa.create("external_references", ours | place | {"external_status": status})

    def journals(self, wanted: Row) -> None:
        erp = self.product("netsuite")
        subsidiaries, accounts = self.ids("subsidiary", "tranPrefix"), self.ids("account", "acctNumber")
        known = self.ids("journalEntry", "custbody_trueup_code")
        for code, journal in wanted.items():
            if code not in known:
                lines = [
                    {"account": accounts[line["account"]], "debit": line["debit"], "credit": line["credit"]}
                    for line in journal["lines"]
                ]
                head = {"subsidiary": subsidiaries[journal["entity"]], "custbody_trueup_code": code}
                head |= {"tranDate": f"{journal['period']}-28", "custbody_trueup_period": journal["period"]}
                erp.create("journalEntry", head | {"line": lines})

    def confirmations(self) -> None:
        expense = self.product("concur")
        for id, document in list(expense.store.table("documents").items()):
            if document["docStatus"] == "READY":
                expense.edit("documents", id, {"docStatus": "POSTING_CONFIRMED_SUCCESS"})

    def write_backs(self, wanted: Row) -> None:
        crm = self.product("salesforce")
        ids = {row["Deal_Code__c"]: id for id, row in crm.store.table("Opportunity").items()}
        for code, deal in wanted.items():
            back = {"Trueup_Project_Codes__c": "; ".join(reversed(deal["project_codes"])) or None}
            crm.edit("Opportunity", ids[code], back | {"Trueup_Billed__c": deal["billed"]})


@pytest.fixture(scope="module")
def readings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Row]]:
    """What is read after every stage."""
    folder: Path = tmp_path_factory.mktemp("readings")
    host = Host(folder, url="http://127.0.0.1:1", seed=SEED)
    scribe, read = Scribe(host), {}
    try:
        for stage in STAGES:
            assert host.story().advance() == stage
            scribe.write(stage)
            read[stage] = read_systems(host.dump())
        yield read
    finally:
        host.close()


@pytest.mark.parametrize("stage", STAGES)
def test_what_is_read_is_what_is_expected_after_each_stage(readings, stage):
    assert compare(expected(FIRM, stage)["systems"], readings[stage]) == []


def test_the_readings_are_not_empty(readings):
    last = readings["planted"]["netsuite"]
    assert (len(last["jobs"]), len(last["employees"]), len(last["journals"])) == (25, 40, 18)
    assert last["payments"]["count"] > 20
    assert len(last["credit_memos"]) == 1
    assert any(readings["october"]["kantata"]["references"].values())


def test_nothing_is_read_from_nothing():
    empty = read_systems({})
    assert empty["salesforce"] == {"deals": {}}
    assert empty["concur"] == {"confirmed_reports": []}
    assert empty["netsuite"]["payments"] == {"count": 0, "currencies": {}, "invoices": {}}


def test_a_wrong_cent_a_second_payment_and_a_lost_job_are_seen(readings):
    wanted = expected(FIRM, "october_posted")["systems"]
    wrong = {system: dict(held) for system, held in readings["october_posted"].items()}
    erp = wrong["netsuite"] = dict(wrong["netsuite"])
    code = sorted(erp["invoices"])[0]
    erp["invoices"] = erp["invoices"] | {code: erp["invoices"][code] | {"tax": "0.01"}}
    erp["payments"] = erp["payments"] | {"count": erp["payments"]["count"] + 1}
    job = sorted(erp["jobs"])[0]
    erp["jobs"] = {name: buyer for name, buyer in erp["jobs"].items() if name != job}
    assert {line.split(":")[0] for line in compare(wanted, wrong)} == {
        f"netsuite.invoices.{code}.tax",
        f"netsuite.jobs.{job}",
        "netsuite.payments.count",
    }
