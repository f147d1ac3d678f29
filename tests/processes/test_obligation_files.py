"""The workspace's obligations, from the file to the frames a month end measures."""

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from trueup.billing.frames import CREDITED_PRICES
from trueup.billing.revenue import states
from trueup.entrypoints import bootstrap
from trueup.kernel.money import to_units
from trueup.processes.obligation_facts import advances_of, obligation_facts
from trueup.settings import SettingsError, load
from trueup.store.objects import Held

GUIDE = Path(__file__).parents[2] / "docs" / "how-to" / "declare-performance-obligations.md"
FILE = GUIDE.read_text("utf-8").split("```yaml\n")[1].split("```")[0]


def workspace(folder: Path, text: str) -> Path:
    (folder / "entities").mkdir()
    (folder / "obligations").mkdir()
    (folder / "trueup.yaml").write_text("company: One\npackages: {}\nsystems: {}\nlate_revenue: refuse\n", "utf-8")
    entity = "code: DE01\nname: One\ncountry: DE\ncurrency: EUR\nsells_to: [DE]\n"
    (folder / "entities" / "DE01.yaml").write_text(entity, "utf-8")
    (folder / "obligations" / "D12.yaml").write_text(text, "utf-8")
    return folder


def contract(*keys: str) -> Held:
    lines = [{"key": key, "legal_entity": "DE01", "currency": "USD"} for key in keys]
    return Held("con_1", "contract", 1, {"status": "active", "code": "D12", "currency": "USD", "lines": lines})


def test_the_guide_s_file_becomes_obligations_that_are_measured(tmp_path):
    firm = bootstrap.firm(load(workspace(tmp_path, FILE), {}))
    assert firm.late_revenue == "refuse"
    done = {"con_1": [("cost", date(2026, 1, 31), to_units(Decimal(40_000), "USD"))]}
    facts, problems = obligation_facts(firm.obligations, [contract("D12-L1")], "DE01", done, {})
    assert problems == ()
    february = date(2026, 2, 28)
    found = (
        states(facts, CREDITED_PRICES.empty(), february, february).select("obligation", "price", "recognised").rows()
    )
    assert found == [
        # 40,000 of 160,000; 4 of 20 trainings; half of February of twelve months
        ("IMPLEMENTATION", to_units(Decimal("211764.70"), "USD"), to_units(Decimal("52941.18"), "USD")),
        ("SUPPORT", to_units(Decimal("52941.18"), "USD"), to_units(Decimal("2205.88"), "USD")),
        ("TRAINING", to_units(Decimal("35294.12"), "USD"), to_units(Decimal("7058.82"), "USD")),
    ]
    assert advances_of(firm.obligations, [contract("D12-L1")])["functional_currency"].to_list() == ["EUR"]


def test_an_obligation_on_a_line_that_is_not_there_is_named(tmp_path):
    firm = bootstrap.firm(load(workspace(tmp_path, FILE), {}))
    _, problems = obligation_facts(firm.obligations, [contract("D12-L9")], "DE01", {}, {})
    assert problems[0].startswith("IMPLEMENTATION of D12 is on line D12-L1, which the contract does not have")


def test_time_is_claimed_by_one_obligation_only(tmp_path):
    two = FILE.replace("method: units", "method: hours").replace("measured_from: listed", "measured_from: time")
    firm = bootstrap.firm(load(workspace(tmp_path, two), {}))
    done = {"con_1": [("minutes", date(2026, 1, 31), 60)]}
    facts, problems = obligation_facts(firm.obligations, [contract("D12-L1")], "DE01", done, {})
    assert "counts for none of them" in problems[0]
    assert "minutes" not in facts.performed["measure"].to_list()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("    standalone_price: 40000\n", "", "TRAINING needs a price"),
        ("key: TRAINING", "key: SUPPORT", "two obligations have the same key"),
        ("method: ratable", "method: magic", "method"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused_with_its_reason(tmp_path, old, new, says):
    with pytest.raises(SettingsError, match=says):
        load(workspace(tmp_path, FILE.replace(old, new)), {})
