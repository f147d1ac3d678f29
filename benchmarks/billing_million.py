"""Large months, billed in parts by workers: 1,000,000 approved time entries over 2,000 contracts, and what growth costs.

Ours   a billing run as it is started by anybody: divided by contract, carried out by worker processes, ended by the last
Limit  `billing_hundred_thousand.bare_run`: the same rows read by COPY into Polars, joined and multiplied there with no
       rules at all, and as many rows as ours written by COPY into tables of the same shapes, indexes included
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from billing_hundred_thousand import ENTITY, PERIOD, bare_run, check, month
from ground import Ground, close, ground
from measure import Figure
from trueup import engine
from trueup.processes import time_to_billing
from trueup.store import ledger

ENTRIES = 1_000_000
OF_A_CONTRACT = 500
WORKERS = max(1, min(2, os.cpu_count() or 1))
GROWTH = (10_000, 100_000, 1_000_000)
TEN_MILLION = 10_000_000
LIMIT_MIB = 2048.0


def measure() -> Iterator[Figure]:
    """Bill the month once, then do the bare work over the same rows."""
    with ground() as site:
        rows, ours, memory = _billed(site, ENTRIES)
        bare = bare_run(site, "trueup", rows)
    note = f"{ENTRIES // OF_A_CONTRACT:,} drafts, {sum(rows.values()):,} rows written, {WORKERS} workers"
    yield Figure("billing_million", "s", ours, bare, note)
    yield Figure("billing_million_rate", "entries/s", ENTRIES / ours, ENTRIES / bare, "the same, as a rate")
    yield Figure("billing_million_memory", "MiB", memory, LIMIT_MIB, "most that one worker held; the limit is 2 GiB")


def growth() -> Iterator[Figure]:
    """Bill ever larger months; the limit of each is ten times what a tenth of it took."""
    before = None
    for entries in GROWTH:
        before = yield from _grown(entries, before)


def ten_million() -> Iterator[Figure]:
    """Bill a million and ten million; takes half an hour and some 25 GB of disk, so it runs when it is named."""
    before = yield from _grown(ENTRIES, None)
    yield from _grown(TEN_MILLION, before)


def _grown(entries: int, before: float | None) -> Iterator[Figure]:
    with ground() as site:
        rows, ours, memory = _billed(site, entries)
    note = f"{entries / ours:,.0f} entries/s, {memory:,.0f} MiB a worker, {sum(rows.values()):,} rows written"
    yield Figure(f"billing_of_{entries}", "s", ours, before * 10 if before else None, note)
    return ours


def _billed(site: Ground, entries: int) -> tuple[dict[str, int], float, float]:
    """Make a month up and let workers bill it; return rows written, seconds, and MiB of the largest worker."""
    house = site.house()
    month(house, entries, entries // OF_A_CONTRACT)
    run = time_to_billing.run_name(PERIOD, ENTITY)
    with _workers(site) as held:
        began = time.perf_counter()
        with house.database.transaction() as tx:
            time_to_billing.start(tx, PERIOD, ENTITY)
        while True:
            with house.database.transaction() as tx:
                row = ledger.run_of(tx, run)
                if engine.failed(tx):
                    raise SystemExit(f"a part of {run} failed")
            if row is not None and row["state"] == "done":
                break
            time.sleep(0.05)
        ours = time.perf_counter() - began
    rows = check(house, row["figures"]["invoices"])
    close(house)
    return rows, ours, max(held)


@contextmanager
def _workers(site: Ground) -> Iterator[list[float]]:
    """Run workers until the block ends; then the list holds the most memory each of them had, in MiB."""
    program = [
        sys.executable,
        str(Path(__file__).with_name("billing_worker.py")),
        str(site.settings.workspace),
        site.at("trueup"),
    ]
    working = [
        subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(WORKERS)
    ]
    held: list[float] = []
    try:
        for one in working:
            assert one.stdout is not None
            if one.stdout.readline() != "ready\n":
                raise SystemExit("a worker does not start")
        yield held
    finally:
        for one in working:
            assert one.stdin is not None
            one.stdin.close()
        for one in working:
            _, status, used = os.wait4(one.pid, 0)
            one.returncode = os.waitstatus_to_exitcode(status)
            held.append(used.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10))
