"""`trueup sim`, `trueup crash`, `trueup rig`, `trueup mutants`, `trueup promises`: try to break the promises, and say how it went."""

import json
import logging
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from trueup.entrypoints.cli.output import DIFFERS, INTERNAL, OK, USAGE, answers, leave, say, show, table
from trueup.kernel.errors import Broken

Json = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]
Record = Annotated[Path | None, typer.Option("--record", help="Put the figures into this file of results.")]
Url = Annotated[
    str, typer.Option("--database", help="URL of an empty database to use; without it a private one is started.")
]
MOST_SHOWN = 5


def _tidy() -> None:
    """Let a polite kill end us as an error does, so that what we have started is ended as well."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(INTERNAL))


@contextmanager
def _database(url: str) -> Iterator[tuple[str, Path]]:
    """Give a database, ours for the length of the block when none was named, and a folder that passes with it."""
    from trueup.store import embedded

    with tempfile.TemporaryDirectory(prefix="trueup-rig-") as passing:
        folder = Path(passing)
        if url:
            yield url, folder
            return
        place = folder / "database"
        try:
            yield embedded.start(place), folder
        finally:
            embedded.destroy(place)


def sim(
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="The first seed; with --seeds 1 the only one.")] = 0,
    first: Annotated[
        bool, typer.Option("--first", help="Stop at the first seed that fails, and do not shorten it.")
    ] = False,
    minutes: Annotated[float, typer.Option(help="Begin no seed after so many minutes.")] = 24 * 60.0,
    jobs: Annotated[int, typer.Option(min=1, help="How many processes share the seeds, each over a database.")] = 1,
    url: Url = "",
    record: Record = None,
    as_json: Json = False,
) -> None:
    """Simulate: a virtual clock, invented vendors with every fault, dying workers; one seed is one run, exactly."""
    _tidy()
    with answers(as_json):
        from trueup.sandbox.rigs import results

        if jobs > 1:
            parts = _shared_out(seeds, seed, minutes, jobs)
        else:
            parts = [_simulated(seeds, seed, minutes, first, url)]
        figures = results.stamped(_together(parts))
        if record:
            results.record(record, "sim", figures)
        show(figures, as_json, _sim)
        raise typer.Exit(OK if not figures["failures"] and figures["same_seed_same_run"] else DIFFERS)


def _simulated(seeds: int, seed: int, minutes: float, first: bool, url: str) -> dict[str, Any]:
    """Run seeds in this process; return the figures."""
    with _database(url) as (place, _):
        from trueup.sandbox.rigs import scripts
        from trueup.sandbox.rigs.world import Stage

        stage = Stage(place)
        began = time.monotonic()
        met: Counter[str] = Counter()
        sums: Counter[str] = Counter()
        hours = 0.0
        failed: list[dict[str, Any]] = []
        try:
            for number in range(seed, seed + seeds):
                if time.monotonic() - began > minutes * 60:
                    break
                script, knobs = scripts.draw(number)
                outcome = stage.run(script, number, knobs)
                sums.update(seeds=1, acts=len(script), transactions=outcome.transactions)
                hours += outcome.hours
                met.update(outcome.met)
                if outcome.violations:
                    say(f"seed {number}: {outcome.violations[0]}")
                    failed.append(_failure(stage, number, shorten=not first and len(failed) < MOST_SHOWN))
                    if first:
                        break
                elif sums["seeds"] % 100 == 0:
                    each = sums["seeds"] / (time.monotonic() - began)
                    say(f"{sums['seeds']} seeds, {len(failed)} failed, {each:.1f}/s")
            script, knobs = scripts.draw(seed)
            same = stage.run(script, seed, knobs).log == stage.run(script, seed, knobs).log
        finally:
            stage.close()
        return {
            "seed": seed, "seeds": sums["seeds"], "failures": len(failed), "violations": failed, "acts": sums["acts"],
            "simulated_hours": round(hours), "transactions": sums["transactions"], "met": dict(met),
            "seconds": round(time.monotonic() - began, 1), "same_seed_same_run": same,
        }  # fmt: skip


def _failure(stage: Any, seed: int, *, shorten: bool) -> dict[str, Any]:
    """Return a seed that broke a promise, with the shortest history found that still does."""
    from trueup.sandbox.rigs import scripts

    script, knobs = scripts.draw(seed)
    if shorten:
        script = scripts.shortest(script, lambda one: bool(stage.run(one, seed, knobs).violations))
    found = stage.run(script, seed, knobs)
    return {"seed": seed, "violations": found.violations[:MOST_SHOWN], "history": script, "faults": knobs.faults,
            "books": knobs.books, "crashes": knobs.crashes}  # fmt: skip


def _shared_out(seeds: int, seed: int, minutes: float, jobs: int) -> list[dict[str, Any]]:
    """Let processes of their own run a part of the seeds each; return their figures."""
    size = -(-seeds // jobs)
    running = []
    for start in range(seed, seed + seeds, size):
        count = min(size, seed + seeds - start)
        words = ["sim", "--seeds", str(count), "--seed", str(start), "--minutes", str(minutes), "--json"]
        program = "from trueup.entrypoints.cli.main import main; main()"
        running.append(subprocess.Popen([sys.executable, "-c", program, *words], stdout=subprocess.PIPE, text=True))
    parts = []
    for one in running:
        said, _ = one.communicate()
        if one.returncode not in (OK, DIFFERS):
            raise Broken(f"a process of the simulation ended with {one.returncode}")
        parts.append(json.loads(said))
    return parts


def _together(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the figures of several processes as one run's."""
    sums: Counter[str] = Counter()
    met: Counter[str] = Counter()
    for part in parts:
        sums.update({name: part[name] for name in ("seeds", "failures", "acts", "simulated_hours", "transactions")})
        met.update(part["met"])
    seconds = max(part["seconds"] for part in parts)
    return {
        "seed": parts[0]["seed"], **sums, "violations": [one for part in parts for one in part["violations"]][:MOST_SHOWN],
        "met": dict(sorted(met.items())), "seconds": seconds, "seeds_per_second": round(sums["seeds"] / seconds, 1),
        "same_seed_same_run": all(part["same_seed_same_run"] for part in parts),
    }  # fmt: skip


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
    each_time: Annotated[
        bool, typer.Option("--each-time", help="At each line each time it runs, not the first and the last time alone.")
    ] = False,
    most: Annotated[int, typer.Option(min=0, help="Take about so many points of each handler; 0 takes all.")] = 0,
    url: Url = "",
    record: Record = None,
    as_json: Json = False,
) -> None:
    """Kill with SIGKILL at every line: every handler that acknowledges, and the step that delivers."""
    _tidy()
    with answers(as_json), _database(url) as (place, folder):
        from trueup.entrypoints import crash_subjects
        from trueup.sandbox.rigs import results

        if handler and handler not in crash_subjects.HANDLERS:
            leave(USAGE, f"no handler named {handler}; there are {', '.join(crash_subjects.HANDLERS)}", as_json)
        found = []
        for name in [handler] if handler else crash_subjects.HANDLERS:
            one = crash_subjects.enumerated(name, place, folder, each_time=each_time, most=most)
            say(
                f"{name}: killed {one.points:,} times at {len(one.died_at):,} of {one.places:,} lines in {one.seconds:.0f} s, "
                f"{len(one.problems)} problems"
            )
            found.append(
                {
                    "handler": name, "ran": one.lines, "lines": one.places, "died_at": len(one.died_at),
                    "points": one.points, "acknowledged": len(one.acknowledged),
                    "problems": one.problems[:50], "failures": len(one.problems), "seconds": round(one.seconds, 1),
                }
            )  # fmt: skip
            if record:
                results.record(record, f"crash {name}", results.stamped(found[-1]))
        figures = results.stamped(
            {
                "handlers": found,
                "points": sum(one["points"] for one in found),
                "failures": sum(one["failures"] for one in found),
            }
        )
        show(figures, as_json, _crash)
        raise typer.Exit(OK if not figures["failures"] else DIFFERS)


def _crash(figures: dict[str, Any]) -> None:
    columns = ["handler", "#lines of code", "#killed at", "#kills", "#acknowledged", "#problems", "#seconds"]
    names = ("handler", "lines", "died_at", "points", "acknowledged", "failures", "seconds")
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
    _tidy()
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
    _tidy()
    with answers(as_json), _database(url) as (place, _):
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
    _tidy()
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
    _tidy()
    with answers(as_json), tempfile.TemporaryDirectory(prefix="trueup-mutants-") as folder:
        from trueup.sandbox.rigs import mutants as planting
        from trueup.sandbox.rigs import results

        ledger = planting.load()
        found = []
        for mutant in ledger.mutants:
            if not mutant.id.startswith(only) or (sample and not mutant.sample) or not mutant.fits():
                continue
            found.append(planting.tried(mutant, Path(folder) / mutant.id))
            say(f"{found[-1].id}: {found[-1].verdict} in {found[-1].seconds:.0f} s: {found[-1].said}")
            if record:  # after each: they take long, and what is known is known
                results.record(record, "mutants", results.stamped(planting.figures(found, ledger.unplanted)))
        figures = results.stamped(planting.figures(found, ledger.unplanted))
        show(figures, as_json, _mutants)
        raise typer.Exit(OK if not figures["failures"] else DIFFERS)


def _mutants(figures: dict[str, Any]) -> None:
    rows = [[one["id"], one["promise"], one["kills"], one["verdict"], one["seconds"]] for one in figures["table"]]
    table(f"Planted bugs at {figures['commit']}", ["bug", "promise", "stands for", "verdict", "#seconds"], rows)
    for survivor in figures["survivors"]:
        say(f"not caught: {survivor}")


def promises(
    file: Annotated[Path, typer.Option("--record", help="The results of the rigs.")] = Path("tests/chaos/results.json"),
    page: Annotated[Path, typer.Option(help="Where the page is written.")] = Path("PROMISES.md"),
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; say whether the page fits the results.")
    ] = False,
) -> None:
    """Write the page of promises from what the rigs have found."""
    from trueup.sandbox.rigs import promises as promised
    from trueup.sandbox.rigs import results

    text = promised.page(results.read(file))
    if check:
        fits = page.exists() and page.read_text("utf-8") == text
        say(f"{page.name}: {'fresh' if fits else 'does not fit the results; run `trueup promises`'}")
        raise typer.Exit(OK if fits else DIFFERS)
    page.write_text(text, "utf-8")
