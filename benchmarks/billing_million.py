"""A month of 1,000,000 approved time entries over 2,000 contracts, billed in one run; ours and limit as for 100,000.

The limit is `billing_hundred_thousand.bare_run`: the same rows read by COPY into Polars, joined and multiplied there with
no rules at all, and as many rows as ours written by COPY into tables of the same shapes, indexes included.
"""

import resource
import sys
import time
from collections.abc import Iterator

from billing_hundred_thousand import ENTITY, PERIOD, bare_run, check, month
from ground import close, ground
from measure import Figure
from trueup.processes.time_to_billing import bill

ENTRIES = 1_000_000
CONTRACTS = 2_000


def measure() -> Iterator[Figure]:
    """Bill the month once, then do the bare work over the same rows."""
    with ground() as site:
        house = site.house()
        month(house, ENTRIES, CONTRACTS)
        began = time.perf_counter()
        figures = bill(house, PERIOD, ENTITY, "benchmark")
        ours = time.perf_counter() - began
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
        rows = check(house, figures["invoices"])
        close(house)
        bare = bare_run(site, "trueup", rows)
    note = f"{CONTRACTS:,} drafts, {sum(rows.values()):,} rows written"
    yield Figure("billing_million", "s", ours, bare, note)
    yield Figure("billing_million_rate", "entries/s", ENTRIES / ours, ENTRIES / bare, "the same, as a rate")
    yield Figure("billing_million_memory", "MiB", memory, 2048.0, "most the process held; the limit is 2 GiB")
