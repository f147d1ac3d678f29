"""`trueup intake`: does everything that came in stand somewhere, and reading a system whole again."""

from pathlib import Path
from typing import Annotated, Any

import typer

from trueup.entrypoints.cli.output import DIFFERS, answers, flat, house_of, say, settings, show, table
from trueup.kernel.errors import Broken

intake = typer.Typer(help="What came in: accounted for, and read again where needed.", no_args_is_help=True)

Workspace = Annotated[Path | None, typer.Option("--workspace", "-w", help="The firm's workspace folder.")]
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]


@intake.command("check")
def check(
    hours: Annotated[int, typer.Option(min=1, max=8784, help="How far back the account by hour goes.")] = 24,
    workspace: Workspace = None,
    as_json: Json = False,
) -> None:
    """Account for every message; ends with 1 when one stands nowhere."""
    with answers(as_json):
        from trueup.entrypoints import bootstrap
        from trueup.reporting.conservation import conservation

        database = bootstrap.open_database(settings(workspace), say, size=2, name="trueup-cli")
        with database.transaction() as tx:
            found = conservation(tx, hours=hours)
        data = flat(found) | {"holds": found.holds}
        show(data, as_json, _human)
    if not found.holds:
        raise typer.Exit(DIFFERS)


@intake.command("sweep")
def sweep(
    system: Annotated[str, typer.Argument(help="A system of the workspace.")],
    object_name: Annotated[str, typer.Argument(help="One of its objects; all when not given.")] = "",
    workspace: Workspace = None,
    as_json: Json = False,
) -> None:
    """Ask for objects to be read whole; the worker does it, and asks for every record that is missing."""
    with answers(as_json):
        from trueup.store import sweeps

        house = house_of(workspace)
        if system not in house.systems:
            raise Broken(f"there is no system {system}; there are {', '.join(sorted(house.systems))}")
        reads = house.systems[system].connector.manifest.reads
        if object_name and object_name not in reads:
            raise Broken(f"{system} has no object {object_name} that we read; there are {', '.join(sorted(reads))}")
        names = [object_name] if object_name else sorted(reads)
        with house.database.transaction() as tx:
            asked = [
                {"system": system, "object": name, "new": sweeps.ask(tx, system, name, "a person asked for it")}
                for name in names
            ]
        show(asked, as_json, _asked)


def _asked(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        say(f"{row['system']} {row['object']}: {'will be read whole' if row['new'] else 'starts over'}")


def _human(data: dict[str, Any]) -> None:
    columns = ["applied", "superseded", "ignored", "quarantined", "in_flight"]
    rows = [
        [
            one["system"],
            one["hour"],
            one["received"],
            *(one[name] for name in columns),
            one["received"] - sum(one[name] for name in columns),
            one["duplicates"],
        ]
        for one in data["hours"]
    ]
    headings = [f"{name.replace('_', ' ')}#" for name in ("received", *columns, "unexplained", "duplicates")]
    table("What came in, by system and hour", ["system", "hour", *headings], rows)
    for one in [*data["nowhere"], *data["stuck"]]:
        say(f"message {one['number']} ({one['system']} {one['object']} {one['external_id']}): {one['why']}")
    for one in data["sweeps"]:
        end = one["inconclusive"] or ("done" if one["finished_at"] else f"{one['seen']} records read so far")
        gone = ", ".join(f"{count} {kind}" for kind, count in sorted(one["vanished"].items()))
        say(f"sweep {one['system']} {one['object']}: {end}{'; ' + gone if gone else ''} ({one['reason']})")
    say("everything that came in stands somewhere" if data["holds"] else "messages are unaccounted for, see above")
