"""The suite finds what it is there to find: a sound connector passes, and each spoilt copy fails where it is spoilt."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from trueup.connectors.sdk import contract, registry
from trueup.connectors.sdk.client import VendorClient
from trueup.connectors.sdk.registry import Connector
from trueup.connectors.sdk.wire import Notice, Page, Receipt, Record
from trueup.kernel.errors import Busy, Refused
from trueup.sandbox import host

CONNECTORS = Path(__file__).parents[1] / "sandbox" / "connectors"


def acme() -> Connector:
    return registry.load("acme", [CONNECTORS])


Sound: type[Any] = acme().client


def spoilt(**methods: Any) -> type[VendorClient]:
    return type("Spoilt", (Sound,), methods)


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    with host.running(tmp_path_factory.mktemp("acme"), systems=["acme"], extra=[CONNECTORS]) as sandbox:
        yield sandbox.stage("acme")


def start_afresh(stage: host.Stage) -> None:
    with stage.simulator.lock:
        for table in ("things", "_outgoing"):
            for id in list(stage.simulator.store.table(table)):
                stage.simulator.store.delete(table, id)


def try_one(stage: host.Stage, connector: Connector, check: str) -> contract.Outcome:
    start_afresh(stage)
    return contract.try_one(getattr(contract, check), contract.Trial(connector, stage))


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(contract, "SECOND_AND_A_BIT", 0.0)


def test_a_sound_connector_passes(stage):
    start_afresh(stage)
    outcomes = contract.try_all(acme(), stage)
    assert [outcome for outcome in outcomes if outcome.state == "failed"] == []
    assert [outcome.check for outcome in outcomes if outcome.state == "skipped"] == [
        "keeps_its_mapping_examples",
        "ignores_fields_it_does_not_know",
    ]


def loses_the_second_page(self: Any, object: str, cursor: str | None) -> Page:
    page = Sound.changes(self, object, cursor)
    return replace(page, records=()) if cursor else page


def skips_one_when_it_goes_on(self: Any, object: str, cursor: str | None) -> Page:
    page = Sound.changes(self, object, cursor)
    return replace(page, records=page.records[1:]) if cursor and self.size == 2 else page


def reads_everything_twice(self: Any, object: str, cursor: str | None) -> Page:
    page = Sound.changes(self, object, cursor)
    return replace(page, records=page.records * 2)


def forgets_where_it_was(self: Any, object: str, cursor: str | None) -> Page:
    return replace(Sound.changes(self, object, cursor), cursor="9999")


def fetches_something_else(self: Any, object: str, external_id: str) -> Record | None:
    record = Sound.get(self, object, external_id)
    return replace(record, external_id="another") if record else None


def does_not_look(self: Any, object: str, key: str) -> Receipt | None:
    return None


def makes_one_each_time(self: Any, object: str, key: str, body: Any, external_id: str | None) -> Receipt:
    return Receipt(self.call("POST", "/things", json={**body, "key": key}).json()["id"])


def calls_all_trouble_busy(self: Any, method: str, answer: Any) -> Exception:
    return Busy("something") if answer.status >= 500 else Sound.trouble(self, method, answer)


def calls_all_trouble_refused(self: Any, method: str, answer: Any) -> Exception:
    return Refused("no", "no") if answer.status == 429 else Sound.trouble(self, method, answer)


def forgets_how_long_to_wait(self: Any, method: str, answer: Any) -> Exception:
    return Busy("later") if answer.status == 429 else Sound.trouble(self, method, answer)


def makes_up_a_code(self: Any, answer: Any) -> tuple[str, str, str]:
    return "weird", "no", ""


def tells_its_secret(self: Any) -> str:
    return f"Acme({dict(self.connection.credentials)})"


def breaks_on_a_strange_call(body: Any) -> list[Notice]:
    return [Notice("thing", body["id"])]


def hears_nothing(body: Any) -> list[Notice]:
    return []


@pytest.mark.parametrize(
    ("methods", "check"),
    [
        ({"changes": loses_the_second_page}, "reads_to_the_end_without_doubles_or_losses"),
        ({"changes": skips_one_when_it_goes_on}, "reads_to_the_end_without_doubles_or_losses"),
        ({"changes": reads_everything_twice}, "reads_to_the_end_without_doubles_or_losses"),
        ({"changes": forgets_where_it_was}, "shows_a_change_after_the_end"),
        ({"get": fetches_something_else}, "fetches_a_record_as_it_is"),
        ({"find": does_not_look}, "finds_what_it_sent"),
        ({"find": does_not_look}, "sends_twice_and_leaves_one"),
        ({"send": makes_one_each_time}, "sends_twice_and_leaves_one"),
        ({"send": makes_one_each_time}, "survives_an_answer_that_is_lost"),
        ({"trouble": calls_all_trouble_busy}, "names_a_server_error_by_what_may_have_happened"),
        ({"trouble": calls_all_trouble_refused}, "waits_when_asked_to"),
        ({"trouble": forgets_how_long_to_wait}, "waits_when_asked_to"),
        ({"refusal": makes_up_a_code}, "explains_every_refusal"),
        ({"__repr__": tells_its_secret}, "never_shows_a_secret"),
        ({"notices": staticmethod(breaks_on_a_strange_call)}, "believes_only_fresh_and_signed_calls"),
        ({"notices": staticmethod(hears_nothing)}, "believes_only_fresh_and_signed_calls"),
    ],
)
def test_a_spoilt_connector_is_found_out(stage, methods, check):
    outcome = try_one(stage, replace(acme(), client=spoilt(**methods)), check)
    assert outcome.state == "failed", outcome


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"refusals": {}}, "keeps_the_rules_of_its_tier"),
        ({"sources": ()}, "keeps_the_rules_of_its_tier"),
        ({"tier": "gold"}, "keeps_the_rules_of_its_tier"),
        ({"writes": {}}, "maps_what_it_reads_and_writes"),
    ],
)
def test_a_manifest_that_promises_too_much_is_found_out(stage, changes, check):
    connector = acme()
    changed = replace(connector, manifest=connector.manifest.model_copy(update=changes))
    outcome = try_one(stage, changed, check)
    assert outcome.state == "failed", outcome


def test_a_missing_sample_is_said(stage, tmp_path):
    folder = tmp_path / "acme"
    (folder / "cases").mkdir(parents=True)
    outcome = contract.try_one(contract.finds_what_it_sent, contract.Trial(replace(acme(), folder=folder), stage))
    assert "write_thing.json is missing" in outcome.reason
