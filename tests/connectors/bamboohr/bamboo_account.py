"""One simulated account behind the sandbox's real HTTP."""

import time

from trueup.connectors.sdk import registry


class Account:
    """The simulator, what its people do, and a client that knows it only over HTTP."""

    def __init__(self, sandbox):
        self.sandbox = sandbox
        self.simulator = sandbox.simulator("bamboohr")
        self.connection = sandbox.connection("bamboohr")
        self.clients = []

    def client(self, **changes):
        connector = registry.load("bamboohr")
        given = {name: getattr(self.connection, name) for name in self.connection.__dataclass_fields__} | changes
        made = connector.client(connector.manifest, type(self.connection)(**given))
        self.clients.append(made)
        return made

    def do(self, method, *arguments, **named):
        with self.simulator.lock:
            done = getattr(self.simulator, method)(*arguments, **named)
            self.simulator.store.flush()
            return done

    def hire(self, number, **more):
        return self.do("create", "employee", person(number, **more))["id"]

    def pay(self, employee, start="2026-01-01", value="68.00", **more):
        row = {"employeeId": employee, "startDate": start, "rate": {"currency": "EUR", "value": value}}
        return self.do("create", "compensation", row | {"type": "Hourly", "paidPer": "Hour"} | more)["id"]


def person(number, **more):
    return {
        "employeeNumber": str(1000 + number),
        "firstName": f"Given{number}",
        "lastName": f"Family{number}",
        "workEmail": f"p{number}@nordlys.example",
        "division": "DE01",
        "department": "Engineering",
        "customPractice": "Technology",
        "jobTitle": "Consultant",
        "hireDate": "2024-03-01",
        "status": "Active",
        "standardHoursPerWeek": 40,
    } | more


def until_the_second_is_over():
    """A client waits this long itself; doing it once for many reads keeps a test quick."""
    time.sleep(1.1)


def read_all(client, object, cursor=None, pages=100):
    """Read page by page until the client says that nothing waits."""
    records = []
    for _ in range(pages):
        page = client.changes(object, cursor)
        records += page.records
        cursor = page.cursor
        if not page.more:
            return records, cursor
    raise AssertionError("it never ends")
