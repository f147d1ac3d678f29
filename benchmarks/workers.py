"""One, two and four workers over one database: durable processes a second, and no step run twice.

Ours   processes of three remembered steps each, queued before the workers start, until the last is done; every step
       leaves a row in a journal that would keep a second run of it
Limit  of two and four: what one worker did, times workers, as far as there are cores
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator

from ground import Ground, ground
from measure import Figure
from steps_worker import JOURNAL, leave_three
from trueup import engine
from trueup.store.database import Database

PROCESSES = 300
STEPS = 3
WORKERS = (1, 2, 4)
SECONDS = 240.0


def measure() -> Iterator[Figure]:
    """Run the same load with one, two and four workers."""
    rates: dict[int, float] = {}
    with ground() as site:
        house = site.house()
        engine.Engine(house.database).prepare()
        with house.database.transaction() as tx:
            tx.run(JOURNAL)
        for workers in WORKERS:
            rates[workers] = _run(site, house.database, workers)
            limit = rates[WORKERS[0]] * min(workers, os.cpu_count() or 1)
            note = f"{PROCESSES} processes of {STEPS} steps, {PROCESSES * STEPS} steps in the journal, none twice"
            yield Figure(f"workers_{workers}", "processes/s", rates[workers], limit if workers > 1 else None, note)
        house.database.close()


def _run(site: Ground, database: Database, workers: int) -> float:
    """Start so many workers over a full queue; return processes a second from the first step to the last end."""
    with database.transaction() as tx:
        tx.run("truncate steps_done")
        for number in range(PROCESSES):
            engine.start(tx, leave_three.__name__, f"{workers}/{number}", f"{workers}/{number}")
    running = [
        subprocess.Popen(
            [sys.executable, "steps_worker.py", site.at("trueup")],
            cwd=os.path.dirname(os.path.abspath(__file__)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(workers)
    ]
    try:
        ends = time.monotonic() + SECONDS
        while _open(database):
            if time.monotonic() > ends:
                raise SystemExit("workers: the queue did not become empty")
            time.sleep(0.05)
    finally:
        for one in running:
            if one.stdin:
                one.stdin.close()
            one.wait(30)
            if one.stdout:
                one.stdout.close()
    with database.transaction() as tx:
        row = tx.row(
            """
            select count(*) as steps, count(distinct (process, step)) as once, count(distinct executor) as executors,
                extract(epoch from max(at) - min(at))::float8 as seconds
            from steps_done
            """
        )
        failed = engine.failed(tx)
    assert row is not None
    if (row["steps"], row["once"], failed) != (PROCESSES * STEPS, PROCESSES * STEPS, []):
        raise SystemExit(
            f"workers: {row['steps']} steps ran, {row['once']} different ones, {len(failed)} processes failed"
        )
    return PROCESSES / float(row["seconds"])


def _open(database: Database) -> int:
    with database.transaction() as tx:
        return engine.unfinished(tx)
