"""One simulated org behind the sandbox's real HTTP, filled with a small firm's deals."""

import time

from trueup.connectors.sdk import registry


class Org:
    """The simulator, what its people do, and a client that knows it only over HTTP."""

    def __init__(self, sandbox):
        self.sandbox = sandbox
        self.simulator = sandbox.simulator("salesforce")
        self.connection = sandbox.connection("salesforce")
        self.clients = []

    def client(self, **changes):
        connector = registry.load("salesforce")
        given = {name: getattr(self.connection, name) for name in self.connection.__dataclass_fields__} | changes
        made = connector.client(connector.manifest, type(self.connection)(**given))
        self.clients.append(made)
        return made

    def do(self, method, *arguments, **named):
        with self.simulator.lock:
            done = getattr(self.simulator, method)(*arguments, **named)
            self.simulator.store.flush()
            return done

    def row(self, table, id):
        with self.simulator.lock:
            return dict(self.simulator.store.table(table)[id])


def account(name="Rheinwerk", **more):
    return {"Name": name, "BillingCountryCode": "DE", "CurrencyIsoCode": "EUR", "Payment_Terms_Days__c": 30} | more


def deal(account_id, code="D07", **more):
    return {
        "Deal_Code__c": code,
        "Name": f"Deal {code}",
        "AccountId": account_id,
        "Type": "New Business",
        "StageName": "Negotiation",
        "CloseDate": "2026-07-28",
        "Amount": "120000.00",
        "CurrencyIsoCode": "EUR",
    } | more


def line(key="D07-L1", **more):
    return {
        "Line_Key__c": key,
        "ProductCode": "ADV-TM",
        "Billing_Method__c": "T&M",
        "TotalPrice": "120000.00",
        "Legal_Entity__c": "DE01",
        "Line_Currency__c": "EUR",
    } | more


def until_the_second_is_over():
    """A client waits this long itself; doing it once for many reads keeps a test quick."""
    time.sleep(1.1)


def read_all(client, object, cursor=None, pages=200):
    """Read page by page until the client says that nothing waits."""
    records = []
    for _ in range(pages):
        page = client.changes(object, cursor)
        records += page.records
        cursor = page.cursor
        if not page.more:
            return records, cursor
    raise AssertionError("it never ends")
