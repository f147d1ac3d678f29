"""Say what every system must hold at the end, computed plainly from the firm's own facts and nothing else.

The oracle is the second opinion: it replays the firm month by month, one record at a time, with `Decimal`, and
shares no code with the hub or with the world it judges. Rules are named as in the demo firm's rule book (R1 to R15).
"""

from trueup.sandbox.oracle.answers import expected_books
from trueup.sandbox.oracle.arithmetic import Facts, Json
from trueup.sandbox.oracle.books import STAGES
from trueup.sandbox.oracle.comparison import compare
from trueup.sandbox.oracle.firm import Firm
from trueup.sandbox.oracle.reading import read_systems
from trueup.sandbox.oracle.replay import replay
from trueup.sandbox.oracle.systems import expected_systems, planted_findings

__all__ = ["STAGES", "compare", "expected", "read_systems"]


def expected(firm: Facts, stage: str = "planted") -> Json:
    """Return what must hold after a stage and the hub's work that follows it; money is text with two decimals.

    Returns   stage
              books     what the hub's own books hold: no planted change touches them
              systems   what the five systems hold, planted changes included; the shape of `read_systems`
              planted   how each planted change must be found at tie-out
    Raises    ValueError for a stage the story does not have
    """
    if stage not in STAGES:
        raise ValueError(f"there is no stage {stage!r}: the story has {', '.join(STAGES)}")
    facts = Firm(firm)
    books = replay(facts, stage)
    return {
        "stage": stage,
        "books": expected_books(facts, books),
        "systems": expected_systems(facts, books),
        "planted": planted_findings(facts, books),
    }
