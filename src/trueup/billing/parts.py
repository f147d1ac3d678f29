"""A large run in parts: whole contracts each, so that no cap, tier, order or minimum is looked at from two sides.

Every contract lies in one of `SLOTS` slots by its identifier alone. A part of a run has every slot whose remainder is
its number, so that parts of one run never share a contract, and parts of two runs share slots exactly when they could.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

SLOTS = 64
SIZE = 200_000
"""Entries in a part where the firm says nothing else: a worker needs well under 2 GiB for so many."""


@dataclass(frozen=True, slots=True)
class Part:
    """One of the equal parts of a run.

    number  0 ... of - 1
    of      how many parts there are: a power of two, `SLOTS` at most
    """

    number: int = 0
    of: int = 1

    def __post_init__(self) -> None:
        if self.of not in POWERS or not 0 <= self.number < self.of:
            raise ValueError(f"{self.number} of {self.of} is no part of a run")

    def __str__(self) -> str:
        """Return the part as its run's name has it.

        >>> str(Part(2, 8))
        'part-2-of-8'
        """
        return f"part-{self.number}-of-{self.of}"

    @property
    def slots(self) -> range:
        """Return the slots of the part, ascending."""
        return range(self.number, SLOTS, self.of)

    def has(self, contract: str) -> bool:
        """Say whether a contract is in the part."""
        return slot(contract) % self.of == self.number


POWERS = tuple(1 << power for power in range(SLOTS.bit_length()))
WHOLE = Part()


def slot(contract: str) -> int:
    """Return where a contract lies, whatever the machine: 0 ... `SLOTS` - 1."""
    return crc32(contract.encode()) % SLOTS


def parts_for(entries: int, size: int = SIZE) -> Sequence[Part]:
    """Return the parts of a run of so many entries: the fewest of which none should be larger than the size.

    >>> [str(part) for part in parts_for(300_000)]
    ['part-0-of-2', 'part-1-of-2']
    """
    count = next((power for power in POWERS if power * size >= entries), SLOTS)
    return tuple(Part(number, count) for number in range(count))
