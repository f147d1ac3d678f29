"""The page of promises says what was measured, and nothing else."""

from pathlib import Path

from trueup.sandbox.rigs import promises, results

ROOT = Path(__file__).resolve().parents[2]
SIM = {
    "seeds": 10, "simulated_hours": 20, "acts": 300, "failures": 0, "met": {"clock jump": 7, "act time": 3},
    "date": "2026-11-25", "commit": "abc",
}  # fmt: skip


def row(page, code):
    line = next(line for line in page.splitlines() if line.startswith(f"| {code} |"))
    return line


def test_the_page_in_the_repository_fits_the_record():
    assert (ROOT / "PROMISES.md").read_text("utf-8") == promises.page(
        results.read(ROOT / "tests" / "chaos" / "results.json")
    )


def test_a_promise_without_a_figure_is_unproved():
    page = promises.page({})
    assert all("**unproved**" in row(page, promise.code) for promise in promises.PROMISES)


def test_a_promise_with_a_failure_is_broken():
    assert "holds" in row(promises.page({"sim": SIM}), "P3")
    assert "**broken**" in row(promises.page({"sim": {**SIM, "failures": 1}}), "P3")


def test_a_figure_of_last_year_counts_as_none():
    old = {**SIM, "date": "2025-11-25"}
    new = {"rows": 1, "skipped": 0, "failures": 0, "date": "2026-11-25", "commit": "abc"}
    assert "**unproved**" in row(promises.page({"sim": old, "readers": new}), "P3")


def test_planted_bugs_are_counted_for_their_promise():
    table = [
        {"id": "a", "promise": "P3", "kills": "x", "verdict": "caught", "said": "", "seconds": 1.0},
        {"id": "b", "promise": "P3", "kills": "y", "verdict": "survived", "said": "", "seconds": 1.0},
    ]
    found = {
        "table": table,
        "caught": 1,
        "planted": 2,
        "failures": 1,
        "unplanted": [],
        "date": "2026-11-25",
        "commit": "abc",
    }
    assert "1 of 2" in row(promises.page({"sim": SIM, "mutants": found}), "P3")


def test_a_record_keeps_the_newest_run_of_each_name(tmp_path):
    file = tmp_path / "results.json"
    results.record(file, "sim", {"seeds": 1})
    results.record(file, "rig", {"minutes": 2})
    results.record(file, "sim", {"seeds": 3})
    assert results.read(file) == {"sim": {"seeds": 3}, "rig": {"minutes": 2}}
