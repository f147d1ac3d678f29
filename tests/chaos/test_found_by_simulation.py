"""What the simulation has found in the hub, each as the short story it was."""

import json

from trueup.kernel.ids import derive
from trueup.pipeline.ingest import ingest
from trueup.sandbox.rigs import clock
from trueup.sandbox.rigs import house as houses
from trueup.store import inbox
from trueup.store.inbox import Arrival

CUSTOMER = derive("customer", "sales", "Account", "A1")


def heard(tx, system, kind, **fields):
    body = json.dumps(fields).encode()
    inbox.keep(tx, system, [Arrival(kind, fields["id"], fields["at"], body)], origin="poll", lane="master")


def test_a_disagreement_stays_open_when_an_older_word_that_agreed_is_taken_in_with_it(stage):
    house = stage.house(("books_a",))
    with stage.database.transaction() as tx:
        clock.wipe(tx)
        houses.open_up(tx, house)
        heard(tx, "sales", "Account", id="A1", at="1", name="Acme", country="DE", currency="EUR")
    assert ingest(house, "master") == 1
    with stage.database.transaction() as tx:  # an echo of our own write, and then somebody's edit
        heard(tx, "books_a", "Client", id="C1", at="1", external=CUSTOMER, name="Acme", country="DE")
        heard(tx, "books_a", "Client", id="C1", at="2", external=CUSTOMER, name="Acme Ltd", country="DE")
    assert ingest(house, "master") == 2
    with stage.database.transaction() as tx:
        (found,) = tx.rows("select field, value, state from proposals where gid = %s", (CUSTOMER,))
    assert (found["field"], found["value"], found["state"]) == ("name", "Acme Ltd", "open")


def test_a_disagreement_ends_when_a_newer_word_that_agrees_is_taken_in_with_it(stage):
    house = stage.house(("books_a",))
    with stage.database.transaction() as tx:
        clock.wipe(tx)
        houses.open_up(tx, house)
        heard(tx, "sales", "Account", id="A1", at="1", name="Acme", country="DE", currency="EUR")
    ingest(house, "master")
    with stage.database.transaction() as tx:
        heard(tx, "books_a", "Client", id="C1", at="1", external=CUSTOMER, name="Acme Ltd", country="DE")
        heard(tx, "books_a", "Client", id="C1", at="2", external=CUSTOMER, name="Acme", country="DE")
    ingest(house, "master")
    with stage.database.transaction() as tx:
        assert tx.value("select state from proposals where gid = %s", (CUSTOMER,)) == "settled"
