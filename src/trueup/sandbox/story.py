"""The story of the demo firm: three months in ten stages, played by its people in the five vendors' products.

Whoever drives the story calls `advance` when the hub is quiet. A stage is written to each product's journal as one
line that ends with the stage's mark, so a killed sandbox goes on where each product stood.
"""

from collections.abc import Mapping
from typing import Any, Final, Protocol

from trueup.kernel.errors import Broken
from trueup.sandbox.desks.delivery import Delivery
from trueup.sandbox.desks.personnel import Personnel
from trueup.sandbox.desks.receivables import Receivables
from trueup.sandbox.desks.sales import Sales
from trueup.sandbox.desks.travel import Travel
from trueup.sandbox.nordlys import Row

STAGES: Final = (
    "opening",
    "deals_won",
    "staffed",
    "august",
    "august_posted",
    "september",
    "september_posted",
    "october",
    "october_posted",
    "planted",
)
"""A month's stage is followed by the hub's billing run, `..._posted` by its month end."""

MARKS: Final = "_story"
"""The table of a simulator that holds the stages its people have done."""


class Desk(Protocol):
    """Where people of the firm work in one product."""

    def lacks(self, stage: str) -> list[str]:
        """Return what the hub must have made before the stage, and has not; changes nothing."""

    def act(self, stage: str) -> None:
        """Do the stage's work; done again it changes nothing."""


class Story:
    """The story over the simulators of all five products."""

    stages: Final = STAGES

    def __init__(self, firm: Row, vendors: Mapping[str, Any]) -> None:
        self._vendors = vendors
        self._desks: dict[str, Desk] = {
            "bamboohr": Personnel(firm, vendors["bamboohr"]),
            "salesforce": Sales(firm, vendors["salesforce"]),
            "concur": Travel(firm, vendors["concur"]),
            "kantata": Delivery(firm, vendors["kantata"]),
            "netsuite": Receivables(firm, vendors["netsuite"]),
        }

    @property
    def stage(self) -> str | None:
        """The last stage that everybody has done; None before the opening."""
        done = [stage for stage in STAGES if all(self._has_done(vendor, stage) for vendor in self._desks)]
        return done[-1] if done else None

    def advance(self) -> str:
        """Let everybody do the next stage's work; return its name. An interrupted stage is finished first.

        Raises    Broken naming everything the hub should have made by now and has not, before anybody acts; or when
                  the story is over.
        """
        past = 0 if self.stage is None else STAGES.index(self.stage) + 1
        if past == len(STAGES):
            raise Broken(f"the story is over: {STAGES[-1]} was its last stage")
        stage = STAGES[past]
        left = {vendor: desk for vendor, desk in self._desks.items() if not self._has_done(vendor, stage)}
        missing = [thing for desk in left.values() for thing in desk.lacks(stage)]
        if missing:
            raise Broken(f"the story cannot go on to {stage}: the hub has not made {'; '.join(missing)}")
        for vendor, desk in left.items():
            store = self._vendors[vendor].store
            with self._vendors[vendor].lock, store.as_one():
                desk.act(stage)
                store.put(MARKS, stage, {"id": stage})
        return stage

    def _has_done(self, vendor: str, stage: str) -> bool:
        return stage in self._vendors[vendor].store.table(MARKS)
