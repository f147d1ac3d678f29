"""The worked examples of billing and revenue, each in both engines: the plain reference and the vectorised path.

`golden/cases.json` holds inputs and expected figures. A file `cases_*.py` beside this one answers some of them: its
`ENGINES` maps a case to two functions, reference and vectorised, that take the case's inputs and give its expected
figures in the same shape.
"""

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
CASES: dict[str, dict[str, Any]] = {
    case["id"]: case for case in json.loads((HERE / "golden" / "cases.json").read_text("utf-8"))["cases"]
}
ENGINES = {
    id: engines
    for path in sorted(HERE.glob("cases_*.py"))
    for id, engines in importlib.import_module(path.stem).ENGINES.items()
}


@pytest.mark.parametrize("engine", [0, 1], ids=["reference", "vectorised"])
@pytest.mark.parametrize("id", sorted(ENGINES))
def test_a_worked_example_comes_out_to_the_cent(id: str, engine: int) -> None:
    case = CASES[id]
    assert ENGINES[id][engine](case["inputs"]) == case["expected"]


def test_every_worked_example_is_answered_by_both_engines() -> None:
    assert set(ENGINES) == set(CASES)
    assert all(len(engines) == 2 for engines in ENGINES.values())
