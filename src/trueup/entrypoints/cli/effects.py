"""`trueup effects`: what was asked of other systems, what nobody knows the end of, and how it is taken back."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trueup.entrypoints.cli.output import DIFFERS, answers, house_of, say, settings, show, table

if TYPE_CHECKING:
    from trueup.store.database import Database

effects = typer.Typer(
    help="Writes to other systems: their states, silence, older values, taking back.", no_args_is_help=True
)

Workspace = Annotated[Path | None, typer.Option("--workspace", "-w", help="The firm's workspace folder.")]
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]
By = Annotated[str, typer.Option(help="Who decides.")]
Reason = Annotated[str, typer.Option(help="Why, in a sentence.")]


def _database(workspace: Path | None) -> "Database":
    from trueup.entrypoints import bootstrap

    return bootstrap.open_database(settings(workspace), say, size=4, name="trueup-cli")


@effects.command("states")
def states(workspace: Workspace = None, as_json: Json = False) -> None:
    """Show how many writes are in each state, and what the states mean."""
    with answers(as_json):
        from trueup.model.delivery import STATES
        from trueup.store import deliveries

        with _database(workspace).transaction() as tx:
            found = deliveries.counts(tx)
        rows = [{"state": state, "count": found.get(state, 0), "means": means} for state, means in STATES.items()]

        def human(data: Any) -> None:
            table("Writes", ["state", "count#", "means"], [list(row.values()) for row in data["states"]])

        show({"states": rows}, as_json, human)


@effects.command("open")
def open_(workspace: Workspace = None, as_json: Json = False) -> None:
    """List what has left the house and whose end nobody knows yet, with the seconds to the next look."""
    with answers(as_json):
        from trueup.store import deliveries

        with _database(workspace).transaction() as tx:
            rows = deliveries.open_questions(tx)

        def human(data: Any) -> None:
            lines = [
                [row["key"], row["state"], row["looks"], "" if row["next_look"] is None else round(row["next_look"]),
                 row["cause"]]
                for row in data["open"]
            ]  # fmt: skip
            table("Open ends", ["write", "state", "looks#", "next look (s)#", "last word"], lines)

        show({"open": rows}, as_json, human)


@effects.command("regressions")
def regressions(workspace: Workspace = None, as_json: Json = False) -> None:
    """List older values that stood over newer ones; exit 1 while one is not healed."""
    with answers(as_json):
        from trueup.store import deliveries

        with _database(workspace).transaction() as tx:
            rows = deliveries.regressions(tx)

        def human(data: Any) -> None:
            lines = [
                [row["key"], "; ".join(f"{one['path']}: {one['theirs']} for {one['ours']}" for one in row["fields"]),
                 row["healing"]]
                for row in data["regressions"]
            ]  # fmt: skip
            table("Older values over newer ones", ["write", "fields", "sent again"], lines)

        show({"regressions": rows}, as_json, human)
    if any(row["healing"] != "confirmed" for row in rows):
        raise typer.Exit(DIFFERS)


@effects.command("halves")
def halves(workspace: Workspace = None, as_json: Json = False) -> None:
    """List processes of which one system has something and another refused the rest; exit 1 when there are any.

    A person removes the cause and has the write sent again, or takes the process back with `trueup effects undo`.
    """
    with answers(as_json):
        from trueup.store import deliveries

        with _database(workspace).transaction() as tx:
            rows = deliveries.half_done(tx)

        def human(data: Any) -> None:
            lines = [
                [row["process"], row["made"], row["stuck"], row["waiting"], ", ".join(row["systems"]), row["cause"]]
                for row in data["halves"]
            ]
            columns = ["process", "made#", "stuck#", "waiting#", "made in", "what was said"]
            table("Half done", columns, lines)

        show({"halves": rows}, as_json, human)
    if rows:
        raise typer.Exit(DIFFERS)


@effects.command("circles")
def circles(workspace: Workspace = None, as_json: Json = False) -> None:
    """List records that are no longer written because our own writes came back changed; exit 1 while one is stopped.

    Remove what changes the value, then release it: `trueup plan retry KEY` and apply the plan.
    """
    with answers(as_json):
        from trueup.store import circles as stops

        with _database(workspace).transaction() as tx:
            rows = stops.listed(tx)

        def human(data: Any) -> None:
            lines = [
                [row["key"], "; ".join(f"{one['field'] or 'an older value'}: {one['told']} → {one['brought']} ({one['system']})"
                                       for one in row["turns"]),
                 "released" if row["released_at"] else "stopped"]
                for row in data["circles"]
            ]  # fmt: skip
            table("Circles", ["write that was not made", "what went round", "now"], lines)

        show({"circles": rows}, as_json, human)
    if any(row["released_at"] is None for row in rows):
        raise typer.Exit(DIFFERS)


@effects.command("undo")
def undo(process: str, by: By, reason: Reason, workspace: Workspace = None, as_json: Json = False) -> None:
    """Take back what a process made in other systems: projects are archived there, what was not sent is let go."""
    with answers(as_json):
        from trueup.processes import undo as undoing

        house = house_of(workspace)
        with house.database.transaction() as tx:
            done = undoing.undo(tx, house, process, by, reason)

        def human(data: Any) -> None:
            say(f"{len(data['asked'])} writes take others back, {len(data['let_go'])} are let go")
            for key, why in data["stays"]:
                say(f"stays: {key}: {why}")

        show(done, as_json, human)


@effects.command("found")
def found(key: str, external_id: str, workspace: Workspace = None, as_json: Json = False) -> None:
    """Say that a parked write is there, under this identifier: it is read in, and not sent again."""
    with answers(as_json):
        from trueup.kernel.errors import Refused
        from trueup.store import deliveries

        with _database(workspace).transaction() as tx:
            if not deliveries.landed(tx, key, external_id):
                raise Refused(f"no parked write has the key {key}", "conflict")
        show({"key": key, "state": "landed"}, as_json, lambda data: say("it is read in by the next worker"))
