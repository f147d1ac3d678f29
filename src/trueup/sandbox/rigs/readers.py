"""P5: eight writers commit in another order than they began; a reader of the events skips nothing."""

import random
import threading
import time
from typing import Any

from trueup.store import changes, migrate
from trueup.store.changes import Event
from trueup.store.database import Database

WRITERS = 8
HELD_SHARE = 0.2
LONGEST_HELD_SECONDS = 0.004
AT_ONCE = 20


def skipped(url: str, rows: int, seed: int) -> dict[str, Any]:
    """Let writers tell events, some while they hold their transaction for a while, and read behind them.

    url     an empty database
    rows    how many events are told
    Returns rows, read, skipped (their keys), seconds
    """
    migrate.migrate(url)
    database = Database(url, size=WRITERS + 1).open()
    began = time.monotonic()
    told: list[str] = []
    failed: list[Exception] = []
    lock = threading.Lock()

    def write(number: int) -> None:
        dice = random.Random(seed * 1000 + number)
        try:
            for row in range(rows // WRITERS):
                key = f"rig/{number}/{row}"
                with database.transaction() as tx:
                    changes.tell(tx, [Event(key, "customer.changed", key, "customer", {})])
                    if dice.random() < HELD_SHARE:
                        time.sleep(dice.uniform(0, LONGEST_HELD_SECONDS))
                with lock:
                    told.append(key)
        except Exception as fault:
            failed.append(fault)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(WRITERS)]
    for writer in writers:
        writer.start()
    seen: set[str] = set()
    cursor = 0, 0
    last = False
    try:
        while True:
            with database.transaction() as tx:
                page = changes.read_events(tx, cursor, AT_ONCE)
            seen.update(row["subject"] for row in page)
            if page:
                cursor = page[-1]["transaction"], page[-1]["number"]
            elif last:
                break
            last = not any(writer.is_alive() for writer in writers)
    finally:
        for writer in writers:
            writer.join()
        database.close()
    if failed:
        raise failed[0]
    missing = sorted(set(told) - seen)
    return {"seed": seed, "rows": len(told), "read": len(seen), "skipped": len(missing), "failures": len(missing),
            "problems": [f"{key} was never read" for key in missing[:20]], "seconds": round(time.monotonic() - began, 1)}  # fmt: skip
