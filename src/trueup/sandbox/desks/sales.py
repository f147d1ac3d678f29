"""Sales at their desk: accounts, opportunities with their terms, wins, sign-offs, and one change of mind."""

from decimal import Decimal

from trueup.connectors.salesforce.sandbox import SalesforceOrg
from trueup.connectors.salesforce.schema import record_id
from trueup.sandbox.nordlys import MONTH_OF_STAGE, Row

FIRST_STAGE = "Prospecting"
STAGE_OF = {"won": "Closed Won", "open": FIRST_STAGE, "proposal": "Proposal", "lost": "Closed Lost"}
METHODS = {
    "time_and_materials": "T&M",
    "fixed_fee": "Fixed Fee",
    "retainer": "Retainer",
    "pass_through": "Pass-through",
}


class Sales:
    """Works in the CRM. Ids follow from the firm's keys."""

    def __init__(self, firm: Row, org: SalesforceOrg) -> None:
        self._firm = firm
        self._org = org

    def lacks(self, stage: str) -> list[str]:
        """Return what must be there before the stage; sales waits for nobody."""
        return []

    def act(self, stage: str) -> None:
        """Do the stage's work."""
        if stage == "opening":
            self._open()
        elif stage == "deals_won":
            self._close([deal for deal in self._firm["deals"] if deal["type"] == "new"])
        elif stage in MONTH_OF_STAGE:
            month = MONTH_OF_STAGE[stage]
            orders = [deal for deal in self._firm["deals"] if deal["type"] == "change_order"]
            self._close([deal for deal in orders if deal["won_on"][:7] == month])
            self._sign_off(month)
        elif stage == "planted":
            for change in self._firm["planted"]:
                if change["system"] == "salesforce":
                    self._org.edit("Opportunity", deal_id(change["deal"]), {"StageName": "Negotiation"})

    def _open(self) -> None:
        """Enter every account and every deal, each in its first stage."""
        for customer in self._firm["customers"]:
            self._org.create("Account", _account(customer))
        for deal in self._firm["deals"]:
            self._org.create("Opportunity", _opportunity(deal))
            for line in deal["lines"]:
                self._org.create("OpportunityLineItem", _line_item(deal, line))
            for rate in deal["rates"]:
                self._org.create("Rate_Card_Line__c", _rate_line(deal, rate))
            for milestone in deal["milestones"]:
                self._org.create("Milestone__c", _milestone(deal, milestone))

    def _close(self, deals: list[Row]) -> None:
        for deal in deals:
            if deal["stage"] != "open":
                closed = {"CloseDate": deal["won_on"]} if deal["won_on"] else {}
                stage = {"StageName": STAGE_OF[deal["stage"]]}
                self._org.edit("Opportunity", deal_id(deal["code"]), stage | closed)

    def _sign_off(self, month: str) -> None:
        """Note the customers' signatures of the month."""
        for deal in self._firm["deals"]:
            for milestone in deal["milestones"]:
                if (milestone["signed_on"] or "")[:7] == month:
                    signature = {
                        "Signed_Off_On__c": milestone["signed_on"],
                        "Signed_Off_By__c": milestone["signed_by"],
                    }
                    self._org.edit("Milestone__c", _id("Milestone__c", milestone["key"]), signature)


def deal_id(code: str) -> str:
    """Return the opportunity's id of a deal."""
    return _id("Opportunity", code)


def _id(object: str, key: str) -> str:
    """Return a record's id from its key: `D07-L2` is number 7002 of its object."""
    deal, _, part = key.partition("-")
    return record_id(object, int(deal[1:]) * 1000 + int(part[1:] or "0"))


def _account(customer: Row) -> Row:
    return {
        "Id": _id("Account", customer["key"]),
        "Name": customer["name"],
        "Legal_Name__c": customer["legal_name"],
        "BillingCountryCode": customer["country"],
        "BillingStateCode": customer["region"],
        "Tax_ID__c": customer["tax_id"],
        "CurrencyIsoCode": customer["currency"],
        "Payment_Terms_Days__c": customer["payment_terms_days"],
        "Billing_Email__c": customer["billing_email"],
        "Industry": customer["industry"],
    }


def _opportunity(deal: Row) -> Row:
    return {
        "Id": deal_id(deal["code"]),
        "Deal_Code__c": deal["code"],
        "Name": deal["name"],
        "AccountId": _id("Account", deal["customer"]),
        "Type": "Change Order" if deal["type"] == "change_order" else "New Business",
        "Amends_Deal__c": deal["amends"],
        "StageName": FIRST_STAGE,
        "CloseDate": deal["won_on"] or deal["starts_on"],
        "Amount": deal["amount"],
        "CurrencyIsoCode": deal["currency"],
        "Start_Date__c": deal["starts_on"],
        "End_Date__c": deal["ends_on"],
        "PO_Number__c": deal["po_number"],
    }


def _line_item(deal: Row, line: Row) -> Row:
    percent = None if line["markup_share"] is None else str((Decimal(line["markup_share"]) * 100).normalize())
    return {
        "Id": _id("OpportunityLineItem", line["key"]),
        "OpportunityId": deal_id(deal["code"]),
        "Line_Key__c": line["key"],
        "ProductCode": line["package"],
        "Billing_Method__c": METHODS[line["billing_method"]],
        "TotalPrice": line["amount"],
        "Legal_Entity__c": line["legal_entity"],
        "Line_Currency__c": line["currency"],
        "Bill_To__c": _id("Account", line["bill_to"]),
        "Cap__c": line["cap"],
        "Estimated_Hours__c": line["estimated_hours"],
        "Monthly_Fee__c": line["monthly_fee"],
        "Included_Hours__c": line["included_hours"],
        "Overage_Rate__c": line["overage_rate"],
        "Markup_Percent__c": percent,
    }


def _rate_line(deal: Row, rate: Row) -> Row:
    return {
        "Id": _id("Rate_Card_Line__c", rate["key"]),
        "Opportunity__c": deal_id(deal["code"]),
        "Role__c": rate["role"],
        "Rate__c": rate["rate"],
        "CurrencyIsoCode": rate["currency"],
        "Valid_From__c": rate["valid_from"],
        "Valid_To__c": rate["valid_to"],
    }


def _milestone(deal: Row, milestone: Row) -> Row:
    return {
        "Id": _id("Milestone__c", milestone["key"]),
        "Milestone_Key__c": milestone["key"],
        "Opportunity__c": deal_id(deal["code"]),
        "Line_Key__c": milestone["line_key"],
        "Name": milestone["name"],
        "Sequence__c": milestone["sequence"],
        "Amount__c": milestone["amount"],
        "CurrencyIsoCode": deal["currency"],
        "Planned_Date__c": milestone["planned_on"],
        "Acceptance_Required__c": milestone["acceptance_required"],
    }
