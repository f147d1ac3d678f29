"""`trueup sim`, `trueup crash`, `trueup rig`, `trueup mutants`, `trueup promises`: try to break the promises, and say how it went."""

import logging
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from trueup.entrypoints.cli.output import DIFFERS, OK, USAGE, answers, leave, say, show, table

Json = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]
Record = Annotated[Path | None, typer.Option("--record", help="Put the figures into this file of results.")]
Url = Annotated[
    str, typer.Option("--database", help="URL of an empty database to use; without it a private one is started.")
]
MOST_SHOWN = 5


@contextmanager
def _database(url: str, folder: Path) -> Iterator[str]:
    """Give a database, ours for the length of the block when none was named."""
    if url:
        yield url
        return
    from trueup.store import embedded

    place = folder / "database"
    try:
        yield embedded.start(place)
    finally:
        embedded.destroy(place)


def sim(
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="The first seed; with --seeds 1 the only one.")] = 0,
    first: Annotated[
        bool, typer.Option("--first", help="Stop at the first seed that fails, and do not shorten it.")
    ] = False,
    url: Url = "",
    record: Record = None,
    as_json: Json = False,
) -> None:
    """Simulate: a virtual clock, invented vendors with every fault, dying workers; one seed is one run, exactly."""
    with (
        answers(as_json),
        tempfile.TemporaryDirectory(prefix="trueup-sim-") as folder,
        _database(url, Path(folder)) as place,
    ):
        from trueup.sandbox.rigs import results, scripts
        from trueup.sandbox.rigs.world import Stage

        stage = Stage(place)
        began = time.monotonic()
        met: dict[str, int] = {}
        hours = transactions = events = 0.0
        failed: list[dict[str, Any]] = []
        try:
            for number in range(seed, seed + seeds):
                script, knobs = scripts.draw(number)
                outcome = stage.run(script, number, knobs)
                events += len(script)
                hours += outcome.hours
                transactions += outcome.transactions
                for name, times in outcome.met.items():
                    met[name] = met.get(name, 0) + times
                if outcome.violations:
                    say(f"seed {number}: {outcome.violations[0]}")
                    short = script
                    if len(failed) < MOST_SHOWN and not first:
                        short = scripts.shortest(script, lambda one: bool(stage.run(one, number, knobs).violations))  # noqa: B023
                    again = stage.run(short, number, knobs)
                    failed.append({"seed": number, "violations": again.violations, "history": short, "faults": knobs.faults,
                                   "books": knobs.books, "crashes": knobs.crashes})  # fmt: skip
                    if first:
                        break
                elif number % 100 == 99:
                    say(
                        f"{number - seed + 1} seeds, {len(failed)} failed, {(number - seed + 1) / (time.monotonic() - began):.1f}/s"
                    )
            same = _twice(stage, seed)
        finally:
            stage.close()
        seconds = time.monotonic() - began
        figures = results.stamped(
            {
                "seed": seed, "seeds": seeds, "failures": len(failed), "violations": failed[:MOST_SHOWN], "acts": int(events),
                "simulated_hours": round(hours), "transactions": int(transactions), "seconds": round(seconds, 1),
                "seeds_per_second": round(seeds / seconds, 1), "met": dict(sorted(met.items())), "same_seed_same_run": same,
            }
        )  # fmt: skip
        if record:
            results.record(record, "sim", figures)
        show(figures, as_json, _sim)
        raise typer.Exit(OK if not failed and same else DIFFERS)


def _twice(stage: Any, seed: int) -> bool:
    """Say whether one seed played twice gives one history."""
    from trueup.sandbox.rigs import scripts

    script, knobs = scripts.draw(seed)
    return bool(stage.run(script, seed, knobs).log == stage.run(script, seed, knobs).log)


def _sim(figures: dict[str, Any]) -> None:
    say(
        f"{figures['seeds']} seeds from {figures['seed']} at {figures['commit']}: {figures['failures']} failed; "
        f"{figures['acts']} acts, {figures['simulated_hours']} hours simulated in {figures['seconds']} s"
    )
    table("What was met", ["fault or act", "#times"], [[name, times] for name, times in figures["met"].items()])
    for one in figures["violations"]:
        say(f"seed {one['seed']}, shortest history {one['history']}:")
        for violation in one["violations"][:MOST_SHOWN]:
            say(f"  {violation}")


def crash(
    handler: Annotated[str, typer.Option(help="One handler; all of them when not given.")] = "",
    every: Annotated[int, typer.Option(min=1, help="Take only each so-and-so-many-th line.")] = 1,
    url: Url = "",
    record: Record = None,
    as_json: Json = False,
) -> None:
    """Kill with SIGKILL at every line: every handler that acknowledges, and the step that delivers."""
    with (
        answers(as_json),
        tempfile.TemporaryDirectory(prefix="trueup-crash-") as folder,
        _database(url, Path(folder)) as place,
    ):
        from trueup.entrypoints import crash_subjects
        from trueup.sandbox.rigs import results

        if handler and handler not in crash_subjects.HANDLERS:
            leave(USAGE, f"no handler named {handler}; there are {', '.join(crash_subjects.HANDLERS)}", as_json)
        found = []
        for name in [handler] if handler else crash_subjects.HANDLERS:
            one = crash_subjects.enumerated(name, place, Path(folder), every=every)
            say(
                f"{name}: killed at {one.points} of {one.lines} lines in {one.seconds:.0f} s, {len(one.problems)} problems"
            )
            found.append(
                {
                    "handler": name, "lines": one.lines, "points": one.points, "acknowledged": len(one.acknowledged),
                    "problems": one.problems[:50], "failures": len(one.problems), "seconds": round(one.seconds, 1),
                }
            )  # fmt: skip
        figures = results.stamped(
            {
                "handlers": found,
                "points": sum(one["points"] for one in found),
                "failures": sum(one["failures"] for one in found),
            }
        )
        if record:
            results.record(record, "crash", figures)
        show(figures, as_json, _crash)
        raise typer.Exit(OK if not figures["failures"] else DIFFERS)


def _crash(figures: dict[str, Any]) -> None:
    columns = ["handler", "#lines", "#killed at", "#acknowledged", "#problems", "#seconds"]
    names = ("handler", "lines", "points", "acknowledged", "failures", "seconds")
    table(
        f"Crash points at {figures['commit']}", columns, [[one[name] for name in names] for one in figures["handlers"]]
    )
    for one in figures["handlers"]:
        for problem in one["problems"][:MOST_SHOWN]:
            say(f"{one['handler']}: {problem}")


def rig(
    minutes: Annotated[float, typer.Option(min=0.1, help="How long.")] = 20.0,
    seed: Annotated[int, typer.Option(min=0, help="The first firm.")] = 1,
    folder: Annotated[
        Path | None, typer.Option("--dir", help="Where firms live and logs stay; a passing one if not given.")
    ] = None,
    record: Record = None,
    as_json: Json = False,
) -> None:
    """Run the hub in real processes, and kill workers, web and database while a firm lives its months."""
    with answers(as_json), tempfile.TemporaryDirectory(prefix="trueup-rig-") as passing:
        from trueup.entrypoints import logs
        from trueup.entrypoints import rig as black_box
        from trueup.sandbox.rigs import results

        logs.configure()
        logging.getLogger("psycopg").setLevel(logging.ERROR)  # a killed database is what we are here for
        figures = results.stamped(black_box.run(folder or Path(passing), minutes, seed, say))
        if record:
            results.record(record, "rig", figures)
        show(figures, as_json, _rig)
        raise typer.Exit(OK if not figures["failures"] else DIFFERS)


def _rig(figures: dict[str, Any]) -> None:
    rows = [[name, figures[name]] for name in ("minutes", "firms", "stages", "acknowledged", "failures")]
    rows += [[f"{name} killed or stopped", times] for name, times in figures["killed"].items()]
    rows += [[f"network: {name}", times] for name, times in figures["network"].items()]
    table(f"The rig at {figures['commit']}", ["figure", "#"], rows)
    for violation in figures["violations"][:MOST_SHOWN]:
        say(violation)


def readers(
    rows: Annotated[int, typer.Option(min=8, help="How many events are told.")] = 3000,
    seed: Annotated[int, typer.Option(min=0, help="When writers hold their transactions.")] = 1,
    url: Url = "",
    record: Record = None,
    as_json: Json = False,
) -> None:
    """Let eight writers commit out of order, and read behind them: nothing may be skipped."""
    with (
        answers(as_json),
        tempfile.TemporaryDirectory(prefix="trueup-rig-") as folder,
        _database(url, Path(folder)) as place,
    ):
        from trueup.sandbox.rigs import readers as reading
        from trueup.sandbox.rigs import results

        _end(results.stamped(reading.skipped(place, rows, seed)), "readers", record, as_json)


def killdb(
    cycles: Annotated[int, typer.Option(min=1, help="How often the server is killed.")] = 25,
    seed: Annotated[int, typer.Option(min=0, help="When it is killed.")] = 1,
    record: Record = None,
    as_json: Json = False,
) -> None:
    """Kill the database's first process under six writers: what was acknowledged must be there."""
    with answers(as_json), tempfile.TemporaryDirectory(prefix="trueup-rig-") as folder:
        from trueup.entrypoints import killed_database
        from trueup.sandbox.rigs import results
        from trueup.store import embedded

        logging.getLogger("psycopg").setLevel(logging.ERROR)
        place = Path(folder) / "database"
        try:
            figures = results.stamped(killed_database.killed(place, cycles, seed))
        finally:
            embedded.destroy(place)
        _end(figures, "killdb", record, as_json)


def _end(figures: dict[str, Any], name: str, record: Path | None, as_json: bool) -> None:
    """Keep and show the figures of a rig that is one number, and end with its exit code."""
    from trueup.sandbox.rigs import results

    if record:
        results.record(record, name, figures)
    show(
        figures,
        as_json,
        lambda found: table(name, ["figure", "value"], [[key, found[key]] for key in found if key != "problems"]),
    )
    for problem in figures["problems"][:MOST_SHOWN]:
        say(problem)
    raise typer.Exit(OK if not figures["failures"] else DIFFERS)


def mutants(
    only: Annotated[str, typer.Option(help="Only those whose name begins so; all when not given.")] = "",
    sample: Annotated[bool, typer.Option("--sample", help="Only the few that are part of the tests.")] = False,
    record: Record = None,
    as_json: Json = False,
) -> None:
    """Plant bugs into a copy of the code, the layers that would hide them switched off: a rig must notice each."""
    with answers(as_json), tempfile.TemporaryDirectory(prefix="trueup-mutants-") as folder:
        from trueup.sandbox.rigs import mutants as planting
        from trueup.sandbox.rigs import results

        ledger = planting.load()
        found = []
        for mutant in ledger.mutants:
            if not mutant.id.startswith(only) or (sample and not mutant.sample):
                continue
            found.append(planting.tried(mutant, Path(folder) / mutant.id))
            say(f"{found[-1].id}: {found[-1].verdict} in {found[-1].seconds:.0f} s: {found[-1].said}")
        figures = results.stamped(planting.figures(found, ledger.unplanted))
        if record:
            results.record(record, "mutants", figures)
        show(figures, as_json, _mutants)
        raise typer.Exit(OK if not figures["failures"] else DIFFERS)


def _mutants(figures: dict[str, Any]) -> None:
    rows = [[one["id"], one["promise"], one["kills"], one["verdict"], one["seconds"]] for one in figures["table"]]
    table(f"Planted bugs at {figures['commit']}", ["bug", "promise", "stands for", "verdict", "#seconds"], rows)
    for survivor in figures["survivors"]:
        say(f"not caught: {survivor}")
