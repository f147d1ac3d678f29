"""`trueup close` and `trueup numbers`: steps as they come, exit codes as promised, one person is never two."""

import json
import os
import pwd

import pytest
from typer.testing import CliRunner

from trueup import engine
from trueup.entrypoints.cli.main import app
from trueup.store import access

PERIOD = "2026-08"
ME = pwd.getpwuid(os.getuid()).pw_name


@pytest.fixture(scope="module")
def trueup(house, sandbox, database_url):
    """Run a command over the module's house, as the operating system's user or with a token."""
    workspace = str(sandbox.host.folder.parent / "workspace")

    def run(*words, token=None, user=None):
        given = {"TRUEUP_DATABASE": database_url, "TRUEUP_TOKEN": token, "USER": user, "LOGNAME": user}
        return CliRunner().invoke(app, [*words, "--workspace", workspace], env=given)

    return run


@pytest.fixture
def tokens(house):
    def make(name, *scopes):
        with house.database.transaction() as tx:
            return access.issue(tx, name, scopes)

    return make


def test_without_a_worker_the_command_says_so_and_leaves_the_month_queued(trueup):
    done = trueup("close", PERIOD, "--entity", "DE01", "--json")
    assert done.exit_code == 3, done.output
    assert "trueup up" in json.loads(done.stdout)["error"]


def test_a_month_is_closed_listed_reopened_by_two_and_closed_again(house, trueup, tokens):
    running = engine.Engine(house.database)
    running.launch(house)
    try:
        closed = trueup("close", PERIOD, "--entity", "DE01")
        assert closed.exit_code == 0, closed.output
        assert "Unapproved time and expenses: All time" in closed.stderr
        assert "SHA-256" in closed.stderr
        again = trueup("close", "--entity", "DE01", PERIOD, "--json")
        month = json.loads(again.stdout)
        assert (again.exit_code, month["state"], month["closed_by"]) == (0, "closed", ME)
        listed = json.loads(trueup("close", "list", "--json").stdout)
        assert {cell["sha256"] for _, cells in listed["rows"] for cell in cells if cell["state"] == "closed"} == {
            month["sha256"]
        }

        asked = trueup("close", "reopen", PERIOD, "--entity", "DE01", "--reason", "a late invoice", "--json")
        number = str(json.loads(asked.stdout)["number"])
        for pretended in (None, "somebody-else"):  # the environment's idea of a user counts for nothing
            same = trueup("close", "approve", number, "--json", user=pretended)
            assert (same.exit_code, json.loads(same.stdout)["exit_code"]) == (6, 6), same.output
            assert "another person" in json.loads(same.stdout)["error"]
        assert trueup("close", "approve", number, token="tu_wrong").exit_code == 4
        assert trueup("close", "approve", number, token=tokens("Rita", "money:read")).exit_code == 4
        assert trueup("close", "approve", number, token=tokens(ME.upper(), "process:run")).exit_code == 6
        ben = tokens("Ben", "process:run")
        assert trueup("close", "approve", number, token=ben).exit_code == 0
        assert trueup("close", "approve", number, token=ben).exit_code == 5

        second = json.loads(trueup("close", PERIOD, "--entity", "DE01", "--json", token=ben).stdout)
        assert (second["revision"], second["sha256"], second["closed_by"]) == (2, month["sha256"], "Ben")
    finally:
        running.stop()


def test_a_dry_run_and_wrong_words_change_nothing(trueup):
    looked = trueup("close", "2026-09", "--entity", "DE01", "--dry-run", "--json")
    assert looked.exit_code == 0, looked.output
    assert json.loads(looked.stdout)["items"][0]["item"] == "unapproved"
    assert trueup("close", "2026-13", "--entity", "DE01").exit_code == 2
    assert trueup("close", "2026-09", "--entity", "XX").exit_code == 2
    assert trueup("close", "2026-09").exit_code == 2
    assert trueup("close", "reopen", "2026-09", "--entity", "DE01", "--reason", "nothing is closed").exit_code == 5
    nothing = trueup("close", "2026-09", "--entity", "DE01", "--accept", "holds", "--reason", "there are none")
    assert nothing.exit_code == 5


def test_the_gap_report_of_an_empty_house_is_empty(trueup):
    done = trueup("numbers", "--json")
    assert (done.exit_code, json.loads(done.stdout)) == (0, [])
