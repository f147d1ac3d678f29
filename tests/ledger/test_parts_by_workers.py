"""A run in parts through the engine: divided once, carried out by whoever is free, ended by the last."""

import time

from laws import broken
from office import filled, parted, run_row

from trueup import engine
from trueup.processes import time_to_billing
from trueup.store import periods

SECONDS = 120.0


def test_workers_carry_a_run_in_parts_to_its_end(office):
    busy = parted(filled(office))
    running = engine.Engine(busy.database)
    with busy.database.transaction() as tx:
        process = time_to_billing.start(tx, "2026-08", "DE01")
    running.launch(busy.house)
    try:
        ends = time.monotonic() + SECONDS
        while (run_row(busy) or {}).get("state") != "done":
            assert time.monotonic() < ends, "the run did not end"
            time.sleep(0.1)
    finally:
        running.stop()
    assert run_row(busy)["figures"]["invoices"] == 9
    with busy.database.transaction() as tx:
        assert engine.one(tx, process)["status"] == "SUCCESS"
        assert periods.first_month(tx) == "2026-08"
    assert not broken(busy.database)
