"""`trueup effects`: states, open ends, half-done processes and taking back, with exit codes a script can use."""

import json

import pytest
from typer.testing import CliRunner

from trueup.entrypoints.cli.main import app
from trueup.pipeline.ingest import ingest
from trueup.store import deliveries, inbox
from trueup.store.deliveries import Command, Result
from trueup.store.inbox import Arrival


@pytest.fixture(scope="module")
def effects(house, sandbox, database_url):
    workspace = str(sandbox.host.folder.parent / "workspace")

    def run(*words):
        given = {"TRUEUP_DATABASE": database_url}
        done = CliRunner().invoke(app, ["effects", *words, "--workspace", workspace, "--json"], env=given)
        return done.exit_code, json.loads(done.stdout)

    return run


def sent(house, name, outcome, process=None):
    key = f"nowhere/invoice/inv_{name}/create"
    with house.database.transaction() as tx:
        command = Command(key, "nowhere", "invoice", f"inv_{name}", "invoice", "create", "D", process=process)
        deliveries.ask(tx, [command])
        (one,) = [d for d in deliveries.claim(tx, "nowhere", 10, "w", 60.0) if d.key == key]
        deliveries.about_to_send(tx, [(key, one.fence, {"n": 1}, "digest", "m", 1, None)])
        external_id = "9" if outcome == "confirmed" else None
        deliveries.settle(tx, [Result(key, one.fence, outcome, "send", "said so", external_id=external_id, wait=600)])
    return key


def test_every_state_is_explained_and_counted(house, effects):
    sent(house, "counted", "confirmed")
    code, told = effects("states")
    counted = {row["state"]: row for row in told["states"]}
    assert code == 0
    assert len(counted) == 11
    assert counted["confirmed"]["count"] >= 1
    assert all(row["means"] for row in counted.values())


def test_open_ends_are_listed_until_a_person_says_what_became_of_them(house, effects):
    key = sent(house, "open", "unknown")
    code, told = effects("open")
    assert (code, [row["state"] for row in told["open"] if row["key"] == key]) == (0, ["unknown"])
    assert effects("found", key, "77")[0] == 5, "it is not parked: the hub looks by itself"
    with house.database.transaction() as tx:
        tx.run("update deliveries set state = 'parked' where key = %s", (key,))
    assert effects("found", key, "77") == (0, {"key": key, "state": "landed"})


def test_half_done_processes_are_an_exit_code_and_can_be_taken_back(house, effects):
    assert effects("halves") == (0, {"halves": []})
    assert effects("regressions") == (0, {"regressions": []})
    sent(house, "made", "confirmed", "half/cli")
    sent(house, "refused", "rejected", "half/cli")
    code, told = effects("halves")
    assert (code, [row["process"] for row in told["halves"]]) == (1, ["half/cli"])
    code, told = effects("undo", "half/cli", "--by", "Ana", "--reason", "the client has left")
    assert (code, told["let_go"]) == (0, ["nowhere/invoice/inv_refused/create"])
    assert effects("halves") == (0, {"halves": []})
    assert effects("undo", "no/such", "--by", "Ana", "--reason", "the client has left")[0] == 5


def test_a_record_is_corrected_by_a_plan(house, sandbox, database_url):
    def run(*words):
        where = ["--workspace", str(sandbox.host.folder.parent / "workspace"), "--json"]
        done = CliRunner().invoke(app, [*words, *where], env={"TRUEUP_DATABASE": database_url})
        return done.exit_code, json.loads(done.stdout)

    with house.database.transaction() as tx:
        arrival = Arrival("Account", "001Q", "2026-08-01T00:00:00Z", b'{"Id": "001Q", "Name": 7, "Phone": "1"}')
        (number,) = inbox.keep(tx, "salesforce", [arrival], origin="poll", lane="master")
    while ingest(house, "master"):
        pass
    words = ("plan", "edit", str(number), "--by", "Li", "--reason", "a slip of the CRM")
    assert run(*words, "--set", "Name")[0] == 2
    assert run(*words, "--remove", "Fax")[0] == 5
    code, plan = run(*words, "--set", "Name=Acme Ltd", "--remove", "Phone")
    assert (code, plan["two_people"], plan["state"]) == (0, True, "proposed")
    assert plan["choice"]["changes"] == [{"field": "Name", "json": '"Acme Ltd"'}, {"field": "Phone", "json": None}]
    assert sum(plan["counts"].values()) == 1
    assert run("plan", "apply", str(plan["number"]), "--by", "Li")[0] == 6, "somebody else applies it"
