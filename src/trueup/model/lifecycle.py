"""Status machines as tables."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Lifecycle:
    """Which status may follow which; the first key is where an object usually begins.

    >>> Lifecycle({"draft": ("signed",), "signed": ()}).allows("draft", "signed")
    True
    """

    steps: Mapping[str, tuple[str, ...]]
    reach: dict[str, frozenset[str]] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        """Work out what can be reached from where, over any number of steps: we may not have heard each one."""
        for start in self.steps:
            seen: set[str] = set()
            todo = [start]
            while todo:
                for following in self.steps[todo.pop()]:
                    if following not in seen:
                        seen.add(following)
                        todo.append(following)
            self.reach[start] = frozenset(seen)

    @property
    def statuses(self) -> frozenset[str]:
        """Return every status there is."""
        return frozenset(self.steps)

    def allows(self, before: str | None, after: str) -> bool:
        """Say whether an object may come to `after`; systems tell us states, not steps, so steps may be skipped."""
        if after not in self.steps:
            return False
        return before is None or before == after or after in self.reach[before]
