"""P1 with the database's first process killed again and again under six writers: what was acknowledged is there."""

import contextlib
import hashlib
import os
import random
import signal
import threading
import time
from pathlib import Path
from typing import Any

from trueup.entrypoints.api import hooks
from trueup.entrypoints.crash_subjects import body_of, headers_of
from trueup.kernel.errors import Busy
from trueup.pipeline.receive import hear
from trueup.sandbox.rigs import house as houses
from trueup.sandbox.rigs import oracles
from trueup.store import embedded, migrate
from trueup.store.database import Database

WRITERS = 6
SHORTEST_SECONDS, LONGEST_SECONDS = 0.3, 1.5


def killed(folder: Path, cycles: int, seed: int) -> dict[str, Any]:
    """Kill the server of a folder so many times while webhooks are written; compare both journals.

    Returns   cycles, acknowledged, failures, problems, seconds
    """
    began = time.monotonic()
    dice = random.Random(seed)
    url = embedded.start(folder)
    migrate.migrate(url)
    house = houses.build(Database(url, size=WRITERS + 1), {})
    house.database.open()
    acknowledged: dict[str, str] = {}
    over = threading.Event()

    def write(writer: int) -> None:
        system = house.systems["people"]
        number = 0
        while not over.is_set():
            number += 1
            name = f"W{writer}-{number}"
            body = body_of(name)
            call = hooks.Call("people", hear(system, headers_of(system, body), body), len(body))
            if hooks.write(house.database, [call]) == [None]:
                acknowledged[name] = hashlib.sha256(body).hexdigest()
            else:
                over.wait(0.02)

    writers = [threading.Thread(target=write, args=(number,), daemon=True) for number in range(WRITERS)]
    for one in writers:
        one.start()
    try:
        for _ in range(cycles):
            time.sleep(dice.uniform(SHORTEST_SECONDS, LONGEST_SECONDS))
            os.kill(_first_process(house.database), signal.SIGKILL)
            embedded.start(folder)
    finally:
        over.set()
        for one in writers:
            one.join(60)
    kept = {}
    with house.database.transaction() as tx:
        for row in tx.rows("select external_id, body from inbox where object = 'Worker'"):
            kept[row["external_id"]] = hashlib.sha256(bytes(row["body"])).hexdigest()
    house.database.close()
    problems = oracles.lost(acknowledged, kept)
    return {"seed": seed, "cycles": cycles, "acknowledged": len(acknowledged), "failures": len(problems),
            "problems": problems[:20], "seconds": round(time.monotonic() - began, 1)}  # fmt: skip


def _first_process(database: Database) -> int:
    """Return the number of the server's first process; waits for a server that is on its way."""
    while True:
        with contextlib.suppress(Busy), database.transaction() as tx:
            return int(tx.value("select split_part(pg_read_file('postmaster.pid'), E'\\n', 1)"))
        time.sleep(0.05)
