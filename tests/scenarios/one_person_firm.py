"""A firm of one person and one customer, entered by people into the five simulated products."""

from typing import Any

from hubs import Site, eventually

ENTITY = "US01"
MONTH = "2026-08"
DAY = "2026-08-10"
PERSON = "9000501"
ROLES = {"Consultant": "310004", "Analyst": "310005"}
ACCOUNT = "001Ny0000000501IAA"
RATE = "200.00"

NO_LINE = {
    "Cap__c": None, "Estimated_Hours__c": None, "Monthly_Fee__c": None, "Included_Hours__c": None,
    "Overage_Rate__c": None, "Markup_Percent__c": None,
}  # fmt: skip


class OnePersonFirm:
    """What the firm's people enter, in the words of their products; amounts are small and worked out by hand."""

    def __init__(self, site: Site) -> None:
        self.site = site
        site.act("netsuite", "seed", firm=site.sandbox.host.firm())
        employee = {
            "id": "501", "employeeNumber": "1501", "firstName": "Ida", "lastName": "Holm", "displayName": "Ida Holm",
            "workEmail": "ida.holm@nordlys.example", "division": ENTITY, "department": "Consulting",
            "customPractice": "Advisory", "jobTitle": "Consultant", "hireDate": "2024-01-15", "status": "Active",
            "standardHoursPerWeek": "40",
        }  # fmt: skip
        site.act("bamboohr", "create", table="employee", row=employee)
        for name, id in ROLES.items():
            site.act("kantata", "create", table="roles", row={"id": id, "name": name})
        user = {"id": PERSON, "full_name": "Ida Holm", "email_address": "ida.holm@nordlys.example"}
        site.act("kantata", "create", table="users", row=user)
        account = {
            "Id": ACCOUNT, "Name": "Fjord Energy", "Legal_Name__c": "Fjord Energy Inc", "BillingCountryCode": "US",
            "BillingStateCode": "NY", "Tax_ID__c": "12-3456789", "CurrencyIsoCode": "USD", "Payment_Terms_Days__c": 30,
            "Billing_Email__c": "ap@fjord.example", "Industry": "Energy",
        }  # fmt: skip
        site.act("salesforce", "create", table="Account", row=account)

    def deal(self, code: str, stage: str = "Prospecting") -> str:
        """Enter a deal with one time-and-materials line; return its opportunity's id."""
        line = {
            "Line_Key__c": f"{code}-L1", "ProductCode": "ADV-TM", "Billing_Method__c": "T&M", "TotalPrice": "40000.00",
            "Legal_Entity__c": ENTITY, "Line_Currency__c": "USD", "Bill_To__c": ACCOUNT, **NO_LINE,
        }  # fmt: skip
        opportunity = {
            "Deal_Code__c": code, "Name": f"Review {code}", "AccountId": ACCOUNT, "Type": "New Business",
            "Amends_Deal__c": None, "StageName": stage, "CloseDate": "2026-07-28", "Amount": "40000.00",
            "CurrencyIsoCode": "USD", "Start_Date__c": "2026-08-01", "End_Date__c": "2026-12-31", "PO_Number__c": None,
            "OpportunityLineItems": [line],
        }  # fmt: skip
        return str(self.site.act("salesforce", "create", table="Opportunity", row=opportunity)["Id"])

    def rate(self, opportunity: str, role: str, rate: str) -> str:
        """Agree on a rate; return the id of its line."""
        line = {
            "Opportunity__c": opportunity, "Role__c": role, "Rate__c": rate, "CurrencyIsoCode": "USD",
            "Valid_From__c": "2026-01-01", "Valid_To__c": None,
        }  # fmt: skip
        return str(self.site.act("salesforce", "create", table="Rate_Card_Line__c", row=line)["Id"])

    def project(self, code: str) -> str:
        """Win a deal with a rate for consultants; return the id of the workspace the hub makes.

        The rate is waited for too: a deal and its rates come by different polls, in either order.
        """
        opportunity = self.deal(code)
        rate = self.rate(opportunity, "Consultant", RATE)
        self.site.act("salesforce", "edit", table="Opportunity", id=opportunity, changes={"StageName": "Closed Won"})
        workspace = eventually(
            lambda: self.site.act("kantata", "titled", table="workspaces", start=f"{code}-{ENTITY}"), "a workspace"
        )
        self.site.act("kantata", "set_status", workspace_id=workspace["id"], message="In Progress")
        eventually(lambda: self.held("rate_line", "salesforce", "Rate_Card_Line__c", rate), "the rate")
        return str(workspace["id"])

    def opportunity(self, code: str) -> str:
        """Return the id of a deal's opportunity."""
        rows = self.site.table("salesforce", "Opportunity")
        return str(next(row["Id"] for row in rows if row["Deal_Code__c"] == code))

    def book(self, workspace: str, minutes: int, role: str = "Consultant", day: str = DAY) -> str:
        """Book approved time; return the entry's id."""
        row = {
            "workspace_id": workspace, "user_id": PERSON, "role_id": ROLES[role], "date_performed": day,
            "time_in_minutes": minutes, "billable": True, "notes": "Review", "sheet": f"IH-{day}-{role}-{workspace}",
        }  # fmt: skip
        return str(self.site.act("kantata", "log_time", rows=[row], approve=True)["entries"][0])

    def held(self, kind: str, system: str, object: str, external_id: str) -> dict[str, Any] | None:
        """Return the hub's object of a vendor's record."""
        return self.site.row(
            """
            select o.* from objects o join crosswalk c on c.gid = o.gid
            where o.kind = %s and c.system = %s and c.object = %s and c.external_id = %s
            """,
            (kind, system, object, external_id),
        )

    def time(self, entry: str) -> dict[str, Any] | None:
        """Return the hub's time of an entry."""
        return self.site.row(
            """
            select t.* from time_entries t join crosswalk c on c.gid = t.gid
            where c.system = 'kantata' and c.object = 'time_entry' and c.external_id = %s
            """,
            (entry,),
        )

    def messages(self, system: str, object: str, external_id: str) -> list[dict[str, Any]]:
        """Return what the hub kept of a record, the newest word first; notices left out."""
        return self.site.rows(
            """
            select * from inbox where system = %s and object = %s and external_id = %s and lane <> 'notice'
            order by number desc
            """,
            (system, object, external_id),
        )

    def settled(self, system: str, object: str, external_id: str, state: str, *, after: int = 0) -> dict[str, Any]:
        """Wait until the newest word of a record is in a state; return it."""
        return eventually(
            lambda: next(
                (
                    one
                    for one in self.messages(system, object, external_id)[:1]
                    if one["state"] == state and one["number"] > after
                ),
                None,
            ),
            f"{object} {external_id} to be {state}",
        )
