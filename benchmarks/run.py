"""Runs benchmarks and writes `latest.json`: `python benchmarks/run.py [name,name]`, or ONLY=name,name; none runs all."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import billing_hundred_thousand
import billing_million
import deal_to_project
import rerating
import tie_out
import time_intake
import two_targets
import webhook_ack
import workers
from measure import Figure, table

BENCHMARKS: dict[str, Callable[[], Iterator[Figure]]] = {
    "time_intake": time_intake.measure,
    "billing_hundred_thousand": billing_hundred_thousand.measure,
    "billing_million": billing_million.measure,
    "billing_growth": billing_million.growth,
    "rerating": rerating.measure,
    "webhook_ack": webhook_ack.measure,
    "event_to_two_targets": two_targets.measure,
    "tie_out": tie_out.measure,
    "workers": workers.measure,
    "deal_to_project": deal_to_project.measure,
}
BY_NAME: dict[str, Callable[[], Iterator[Figure]]] = {
    "billing_ten_million": billing_million.ten_million,
    "webhook_soak": webhook_ack.soak,
}
"""Long ones: they run when they are named, never because nothing was."""
RESULTS = Path(__file__).with_name("latest.json")


def main() -> int:
    """Run what was asked for, one after the other, print one table and keep the figures."""
    wanted = [name for name in (sys.argv[1] if len(sys.argv) > 1 else os.environ.get("ONLY", "")).split(",") if name]
    known = BENCHMARKS | BY_NAME
    unknown = [name for name in wanted if name not in known]
    if unknown:
        print(f"there is no benchmark {', '.join(unknown)}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    figures: list[Figure] = []
    for name in wanted or BENCHMARKS:
        began = time.perf_counter()
        figures += known[name]()
        print(f"{name}: {time.perf_counter() - began:.0f} s", file=sys.stderr)
    print(table(figures))
    print("ratio: share of the limit, measured in the same run; 1 is as quick as the bare way")
    RESULTS.write_text(json.dumps([figure.plain() for figure in figures], indent=1) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
