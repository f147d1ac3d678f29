"""F13, its first half: one system accepts, another refuses for good. Nothing stays half and silent: a person decides."""

import pytest

import small_firm
from small_firm import carry_out, gid_of, hear
from trueup.entrypoints.bootstrap import WITHDRAWN
from trueup.kernel.errors import Refused
from trueup.mapping.file import load as load_mapping
from trueup.processes import opportunity_to_project, undo
from trueup.store import deliveries, holds

CLOSED = f"""
mapping: {WITHDRAWN}project -> timely.project
version: 1
why: a test's own words
fields: {{closed: {{const: true}}}}
{small_firm.EXAMPLE}
"""
PROCESS = "opportunity_to_project/F13"


@pytest.fixture
def house(empty):
    """A won deal whose project the PSA takes and the ERP refuses."""
    made = small_firm.build(empty)
    mapping = load_mapping(CLOSED)
    made.outward[(mapping.kind, mapping.system, mapping.object)] = mapping
    made.systems["ledgerly"].client.refused.add("X01")
    buyer = {"id": "a1", "name": "Fjord Energi", "country": "de", "vat": "DE1", "currency": "EUR", "terms": 30}
    hear(made, "dealer", "account", buyer)
    line = {"key": "X01-L1", "package": "ADV-TM", "method": "time_and_materials", "amount": 12000}
    hear(made, "dealer", "deal", small_firm.deal("X01", "a1", [line]))
    opportunity_to_project.set_up(made, gid_of(made, "contract", "X01"), PROCESS)
    carry_out(made)
    return made


def halves(house):
    with house.database.transaction() as tx:
        return deliveries.half_done(tx)


def states(house):
    with house.database.transaction() as tx:
        rows = deliveries.of_process(tx, PROCESS)
    return {f"{row['system']}.{row['kind']}": row["state"] for row in rows if row["kind"] != "task"}


def told(house):
    return [body for (kind, _), body in house.systems["dealer"].client.sent.items() if kind == "deal"][-1]


def test_f13_what_one_side_refused_for_good_waits_visibly_for_a_person(house):
    (half,) = halves(house)
    assert (half["process"], half["made"], half["stuck"]) == (PROCESS, 2, 2)
    assert half["systems"] == ["ledgerly", "timely"]
    assert "closed" in half["cause"]
    carry_out(house)
    assert halves(house) == [half], "nothing is repeated by itself"


def test_f13_a_person_removes_the_cause_and_the_rest_is_made_once(house):
    house.systems["ledgerly"].client.refused.clear()
    with house.database.transaction() as tx:
        stuck = [row["key"] for row in deliveries.of_process(tx, PROCESS) if row["state"] == "rejected"]
        assert deliveries.resend(tx, stuck) == 2
    carry_out(house)
    assert halves(house) == []
    assert set(states(house).values()) == {"confirmed"}


def test_f13_or_takes_back_what_the_other_side_had_made(house):
    project = gid_of(house, "project", "X01-DE01")
    with house.database.transaction() as tx:
        done = undo.undo(tx, house, PROCESS, "Ana", "the ERP will not have it")
    assert done.asked == (f"timely/project/{project}/create/undo",)
    assert dict(done.stays)[next(iter(dict(done.stays)))].startswith("a customer stays")
    carry_out(house)
    assert states(house) == {
        "timely.project": "compensated",
        "ledgerly.customer": "confirmed",
        "ledgerly.project": "superseded",
        "ledgerly.contract": "superseded",
        f"timely.{WITHDRAWN}project": "confirmed",
    }
    assert house.systems["timely"].client.sent[("project", project)] == {"closed": True}
    with house.database.transaction() as tx:
        (hold,) = holds.open_of(tx, codes=["MANUAL"])
        waiting = tx.value("select count(*) from deliveries where state in ('planned', 'due', 'parked', 'rejected')")
    assert (hold["scope"], hold["reason"]) == (project, "taken back by Ana: the ERP will not have it")
    assert waiting == 0, "tasks that were to follow the project are let go as well"
    assert told(house)["status"] == "On hold"
    assert halves(house) == []
    with house.database.transaction() as tx:
        assert undo.undo(tx, house, PROCESS, "Ana", "once more").asked == (), (
            "taking it back twice is taking it back once"
        )


def test_nothing_is_taken_back_while_something_of_it_is_in_doubt(house):
    with house.database.transaction() as tx:
        tx.run(
            "update deliveries set state = 'due' where process = %s and kind = 'contract' and state = 'rejected'",
            (PROCESS,),
        )
        tx.run(
            "update deliveries set state = 'sending', sent_at = now() where process = %s and state = 'due'", (PROCESS,)
        )
    with pytest.raises(Refused, match="under way or in doubt"), house.database.transaction() as tx:
        undo.undo(tx, house, PROCESS, "Ana", "no")
    with pytest.raises(Refused, match="nothing was written"), house.database.transaction() as tx:
        undo.undo(tx, house, "no/such", "Ana", "no")


def test_a_project_on_which_work_has_begun_is_not_taken_back(house):
    with house.database.transaction() as tx:
        tx.run("update objects set body = body || '{\"status\": \"active\"}' where kind = 'project'")
    with pytest.raises(Refused, match="work has begun on X01-DE01"), house.database.transaction() as tx:
        undo.undo(tx, house, PROCESS, "Ana", "no")
