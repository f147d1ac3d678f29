"""`trueup schedule` shows what would be billed and queues it once."""

import json
from pathlib import Path

import pytest
from test_schedule_settings import ENTITY, TRUEUP
from typer.testing import CliRunner

from trueup.entrypoints.cli.main import app

SCHEDULE = "{line: D01-L1, kind: instalments, starts_on: 2026-08-01, count: 12}"


@pytest.fixture
def workspace(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("entities", "schedules"):
        (tmp_path / name).mkdir()
    (tmp_path / "trueup.yaml").write_text(TRUEUP)
    (tmp_path / "entities" / "DE01.yaml").write_text(ENTITY)
    (tmp_path / "schedules" / "one.yaml").write_text(SCHEDULE)
    monkeypatch.setenv("TRUEUP_DATABASE", database_url)
    monkeypatch.setenv("TRUEUP_WORKSPACE", str(tmp_path))
    return tmp_path


def test_a_firm_without_contracts_has_nothing_to_bill(workspace: Path) -> None:
    shown = CliRunner().invoke(app, ["schedule", "show", "2026-08", "--json"])
    assert (shown.exit_code, json.loads(shown.stdout)) == (0, [])


def test_a_month_is_queued_once(workspace: Path) -> None:
    for _ in range(2):
        run = CliRunner().invoke(app, ["schedule", "run", "2026-08", "--json"])
        assert run.exit_code == 0
        assert json.loads(run.stdout) == {"processes": ["schedule_billing/2026-08/DE01"]}


def test_what_is_no_month_or_no_entity_is_refused(workspace: Path) -> None:
    for words in (
        ["schedule", "show", "August", "--json"],
        ["schedule", "run", "2026-08", "--entity", "FR01", "--json"],
    ):
        asked = CliRunner().invoke(app, words)
        assert asked.exit_code == 2
        assert "error" in json.loads(asked.stdout)
