"""How many schedules and steps were tried; printed at the end of the run."""

from collections import Counter

TRIED: Counter[str] = Counter()
