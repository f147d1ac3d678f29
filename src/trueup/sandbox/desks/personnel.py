"""Personnel at their desk: who works here, what an hour of them costs, and who leaves."""

from trueup.connectors.bamboohr.sandbox import BambooAccount
from trueup.sandbox.nordlys import FIRST_DAY, MONTH_OF_STAGE, Row

FIRST_EMPLOYEE = 100
FIRST_PAY_ROW = 18000


class Personnel:
    """Works in the HR system. Ids follow from the keys: P007 is employee 107."""

    def __init__(self, firm: Row, account: BambooAccount) -> None:
        self._firm = firm
        self._account = account

    def lacks(self, stage: str) -> list[str]:
        """Return what must be there before the stage; personnel waits for nobody."""
        return []

    def act(self, stage: str) -> None:
        """Enter everybody at the opening; later the month's new cost rates and departures."""
        month = MONTH_OF_STAGE.get(stage)
        for person in self._firm["people"]:
            if stage == "opening":
                self._account.create("employee", _employee(person))
            for place, rate in enumerate(person["cost_rates"]):
                known = rate["valid_from"] < FIRST_DAY.isoformat()
                if (stage == "opening" and known) or rate["valid_from"][:7] == month:
                    self._account.create("compensation", _pay_row(person, place, rate))
            if month and (person["terminated_on"] or "")[:7] == month:
                self._account.terminate(_employee_id(person), person["terminated_on"])


def _employee_id(person: Row) -> str:
    return str(FIRST_EMPLOYEE + int(person["key"][1:]))


def _employee(person: Row) -> Row:
    first, _, last = person["name"].partition(" ")
    return {
        "id": _employee_id(person),
        "employeeNumber": person["worker_number"],
        "firstName": first,
        "lastName": last,
        "displayName": person["name"],
        "workEmail": person["email"],
        "division": person["entity"],
        "department": person["department"],
        "customPractice": person["practice"],
        "jobTitle": person["role"],
        "hireDate": person["hired_on"],
        "status": "Active",
        "standardHoursPerWeek": str(person["weekly_hours"]),
    }


def _pay_row(person: Row, place: int, rate: Row) -> Row:
    return {
        "id": str(FIRST_PAY_ROW + 10 * int(person["key"][1:]) + place),
        "employeeId": _employee_id(person),
        "startDate": rate["valid_from"],
        "rate": {"value": rate["amount"], "currency": rate["currency"]},
        "type": "Hourly",
        "paidPer": "Hour",
    }
