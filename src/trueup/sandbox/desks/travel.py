"""Travellers at their desk: they submit their expense reports, their managers approve them."""

from itertools import groupby

from trueup.connectors.concur.sandbox import ConcurSimulator
from trueup.sandbox.nordlys import MONTH_OF_STAGE, Row


class Travel:
    """Works in the expense product; a report has its own number."""

    def __init__(self, firm: Row, product: ConcurSimulator) -> None:
        self._firm = firm
        self._product = product

    def lacks(self, stage: str) -> list[str]:
        """Return what must be there before the stage; travellers wait for nobody."""
        return []

    def act(self, stage: str) -> None:
        """Submit the month's reports, and approve those that are approved in it."""
        month = MONTH_OF_STAGE.get(stage)
        people = {person["key"]: person for person in self._firm["people"]}
        countries = {entity["code"]: entity["country"] for entity in self._firm["entities"]}
        for report, group in groupby(self._firm["expenses"], key=lambda line: str(line["report"])):
            lines = list(group)
            person = people[lines[0]["person"]]
            if lines[0]["date"][:7] == month:
                self._product.submit_report(
                    report,
                    employee=_employee(person),
                    currency=lines[0]["currency"],
                    entries=[_entry(line) for line in lines],
                    name=f"{person['name']} {lines[0]['date']}",
                    country=countries[person["entity"]],
                )
            if month and lines[0]["approved_in"] == month:
                self._product.approve_report(report)


def _employee(person: Row) -> Row:
    first, _, last = person["name"].partition(" ")
    return {
        "email": person["email"],
        "employee_id": person["worker_number"],
        "first_name": first,
        "last_name": last,
    }


def _entry(line: Row) -> Row:
    return {
        "line": line["line"],
        "date": line["date"],
        "type": line["category"],
        "amount": line["amount"],
        "amount_spent": line["amount_spent"],
        "currency_spent": line["currency_spent"],
        "project": line["project"],
        "billable": line["billable"],
        "receipt": line["has_receipt"],
        "vendor": line["vendor_name"],
    }
