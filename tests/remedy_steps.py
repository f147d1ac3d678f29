"""How a failure of a write is looked at on the desk, and how a way out of it is gone."""

from concurrent.futures import ThreadPoolExecutor

from trueup.entrypoints.bootstrap import default_ownership
from trueup.governance import ownership
from trueup.pipeline.deliver import deliver
from trueup.pipeline.house import Firm, House, System
from trueup.processes import plans
from trueup.reporting import issues as desk
from trueup.store import crosswalk, cursors, deliveries, issues
from trueup.store.crosswalk import Link
from trueup.store.plans import Choice


def house_of(database, connector, client, *links):
    """Return a house over one system; links are (object, external id, our identifier)."""
    system = System(connector.name, connector.manifest.role, connector, client)
    rules = ownership.load(default_ownership())
    made = House(database, {connector.name: system}, {}, {}, rules, Firm("One system", {}, {}, {}))
    with database.transaction() as tx:
        cursors.register(tx, connector.name, connector.name, connector.manifest.role)
        crosswalk.put(tx, [Link(connector.name, *link) for link in links])
    return made


def ask(house, *commands):
    """Ask for writes, and carry out what can be."""
    with house.database.transaction() as tx:
        deliveries.ask(tx, commands)
    carry_out(house)


def carry_out(house):
    """Let a worker do everything that is due."""
    with ThreadPoolExecutor(1) as pool:
        while sum(deliver(house, system, "tester", pool) for system in house.systems.values()):
            pass


def open_issues(house):
    """Return the causes for which something fails now."""
    with house.database.transaction() as tx:
        return [one for one in issues.listed(tx) if one["records"]]


def the_issue(house):
    """Return the only cause for which something fails, as its page has it."""
    (found,) = open_issues(house)
    with house.database.transaction() as tx:
        return desk.cause(tx, found["issue"], house.remedies())


def goes_out(house, issue):
    """Go the way out that sends again, by its plan; nothing fails any more then."""
    assert "retry" in [way["then"] for way in issue["remedy"]["ways"]]
    plan = plans.propose(house, "retry", Choice(issue=issue["issue"]), by="Li", reason="as the way out says")
    plans.start(house, plan["number"], by="Ana")
    while plans.next_batch(house, str(plan["number"])):
        pass
    carry_out(house)
    assert open_issues(house) == []
    with house.database.transaction() as tx:
        states = {row["state"] for row in tx.rows("select state from deliveries")}
    assert states <= {"landed", "confirmed"}
