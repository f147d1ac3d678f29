"""What it costs to ask for the effect of a backdated rate change: the entries it touches, not the month they lie in.

Ours   `rerating.preview` after the rate cards of some contracts were changed back to the first of the month
Limit  of the first: the same change in a month a tenth as large; of the others: what one contract took, times contracts
"""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from functools import partial

from billing_hundred_thousand import ENTITY, FIRST, PERIOD, month
from ground import close, ground
from measure import Figure, p50, seconds
from trueup.kernel.ids import derive
from trueup.pipeline.house import House
from trueup.processes import rerating
from trueup.processes.time_to_billing import bill
from trueup.store import objects

OF_A_CONTRACT = 500
SMALL, LARGE = 20, 200
CHANGED = (1, 20, 200)
TIMES = 3


def measure() -> Iterator[Figure]:
    """Change one contract in a small and in a large month, then more of the large one."""
    (small,) = _months(SMALL, CHANGED[:1])
    taken = _months(LARGE, CHANGED)
    limits = [small, *(taken[0] * contracts for contracts in CHANGED[1:])]
    for contracts, ours, limit in zip(CHANGED, taken, limits, strict=True):
        share = f"{contracts * OF_A_CONTRACT:,} of {LARGE * OF_A_CONTRACT:,} entries at another rate"
        yield Figure(f"rerating_of_{contracts}_contracts", "s", ours, limit, share)


def _months(contracts: int, changed: tuple[int, ...]) -> list[float]:
    """Bill a month and return the seconds a preview takes after each change of rates."""
    with ground() as site:
        house = site.house()
        month(house, contracts * OF_A_CONTRACT, contracts)
        bill(house, PERIOD, ENTITY, "benchmark")
        with house.database.transaction() as tx:
            tx.run("analyze")
        taken = []
        for count in changed:
            _change(house, count)
            taken.append(p50([seconds(partial(_preview, house, count)) for _ in range(TIMES)]))
        close(house)
    return taken


def _change(house: House, contracts: int) -> None:
    """Raise every rate of the first contracts by one, from the first of the month on."""
    codes = [derive("contract", "bench", f"B{number:03d}") for number in range(contracts)]
    with house.database.transaction() as tx:
        lines = objects.naming(tx, "rate_line", "contract", codes)
        for line in lines:
            line.body["rate"] = str(Decimal(line.body["rate"]) + 1)
            line.version += 1
        objects.save(tx, lines)


def _preview(house: House, contracts: int) -> None:
    shown = rerating.preview(house, date(FIRST.year, FIRST.month, 1))
    found = {row["contract"] for row in shown["entries"]}
    if len(found) != contracts:
        raise SystemExit(f"re-rating: {len(found)} contracts differ, {contracts} were changed")
