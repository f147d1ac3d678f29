"""Readers of events wait for every older transaction to end, and the server begins some of its own: automatic analysis."""

import time


def passed(database, patience=30.0):
    """Wait until everything that is committed by now can be read as an event."""
    with database.transaction() as tx:
        beyond = tx.value("select pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
    ends = time.monotonic() + patience
    while True:
        with database.transaction() as tx:
            if tx.value("select pg_snapshot_xmin(pg_current_snapshot())::text::bigint") >= beyond:
                return
        assert time.monotonic() < ends, f"a transaction older than {beyond} is still open after {patience} s"
        time.sleep(0.01)
