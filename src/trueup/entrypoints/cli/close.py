"""`trueup close`: close a month step by step, accept findings, reopen by two people; `trueup numbers`: the gap report."""

import os
import pwd
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from trueup.entrypoints.cli.output import AWAY, CONFLICT, DIFFERS, OK, acts, flat, house_of, leave, say, show, table
from trueup.kernel.errors import Broken, Refused

if TYPE_CHECKING:
    from trueup.pipeline.house import House
    from trueup.reporting.close import Close

POLL_SECONDS = 0.3
TOKEN = "TRUEUP_TOKEN"
MARKS = {"passed": "✓", "done": "✓", "accepted": "✓", "open": "!", "blocked": "✗"}
MONTH = re.compile(r"[0-9]{4}-[0-9]{2}")

Workspace = Annotated[Path | None, typer.Option("--workspace", "-w", help="The firm's workspace folder.")]
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]
Entity = Annotated[str, typer.Option(help="Legal entity; may be left out where there is only one.")]


class MonthFirst(TyperGroup):
    """Lets `trueup close 2026-10` stand for `trueup close month 2026-10`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command's name before a month, wherever among the options it stands."""
        if not any(one in self.commands for one in args[:1]) and any(MONTH.fullmatch(one) for one in args):
            args = ["month", *args]
        return super().parse_args(ctx, args)


close = typer.Typer(
    cls=MonthFirst,
    help="Close a month of a legal entity: `trueup close 2026-10 --entity DE01`. Who acts is the operating system's "
    f"user, or the name of the token in {TOKEN}.",
    no_args_is_help=True,
)


def _entity(house: "House", code: str) -> str:
    known = sorted(house.firm.entities)
    if code in known:
        return code
    if not code and len(known) == 1:
        return known[0]
    raise Broken(
        f"{f'there is no legal entity {code}' if code else 'say which --entity'}; there are {', '.join(known)}"
    )


def person(house: "House") -> str:
    """Return who acts: the name of the token in TRUEUP_TOKEN, else the user the operating system knows.

    The environment's idea of a user is not asked: whoever could set it could be two people.

    Raises    Refused when the token is unknown or may not run processes.
    """
    given = os.environ.get(TOKEN)
    if not given:
        return pwd.getpwuid(os.getuid()).pw_name
    from trueup.store import access

    with house.database.transaction() as tx:
        holder = access.holder(tx, given)
    if holder is None:
        raise Refused(f"the token in {TOKEN} is unknown, expired or revoked", "sign_in", 401)
    if not {"process:run", "act", "admin"} & set(holder["scopes"]):
        raise Refused(f"{holder['name']} has no scope process:run: it may not close or reopen a month", "scope", 403)
    return str(holder["name"])


@close.command("month")
def month(
    period: Annotated[str, typer.Argument(help="The month, like 2026-10.")],
    entity: Entity = "",
    workspace: Workspace = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Look at every item; write, compare and book nothing.")
    ] = False,
    accept: Annotated[
        str, typer.Option(help="Accept what this item found, with --reason; closes nothing by itself.")
    ] = "",
    reason: Annotated[str, typer.Option(help="Why a finding is accepted.")] = "",
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Wait and print each step.")] = True,
    as_json: Json = False,
) -> None:
    """Walk the checklist of a month and freeze it; exit 1 when something blocks it. Workers carry it out."""
    with acts(as_json):
        from trueup.processes import period_close

        house = house_of(workspace)
        code = _entity(house, entity)
        try:
            if dry_run:
                found = period_close.preview(house, code, period)
                show({"legal_entity": code, "period": period, "dry_run": True, "items": found}, as_json, _print_items)
                raise typer.Exit(DIFFERS if any(item["state"] == "blocked" for item in found) else OK)
            by = person(house)
            if accept:
                with house.database.transaction() as tx:
                    done = period_close.accept(tx, code, period, accept, by, reason)
                show(
                    done,
                    as_json,
                    lambda data: say(f"{data['item']} accepted by {data['accepted_by']}: {data['reason']}"),
                )
                return
            with house.database.transaction() as tx:
                process = period_close.start(tx, code, period, by)
        except ValueError as wrong:
            raise Broken(str(wrong)) from wrong
        if process is not None and not follow:
            show({"process": process}, as_json, lambda data: say(f"queued: {data['process']}"))
            return
        ended = _follow(house, code, period, process, as_json)
        show(_row(ended), as_json, _print_end)
        if ended.fault:
            raise typer.Exit(CONFLICT)
        if ended.state != "closed":
            raise typer.Exit(DIFFERS)


def _follow(house: "House", entity: str, period: str, process: str | None, as_json: bool) -> "Close":
    """Print each item as it is settled, until the process has ended."""
    from trueup.reporting import close as closes
    from trueup.store import executors

    told: set[str] = set()
    while True:
        with house.database.transaction() as tx:
            found = closes.close(tx, entity, period)
            nobody = found.running and not executors.living(tx)
        for item in found.items:
            if process is not None and item.checked_at is not None and item.item not in told:
                told.add(item.item)
                say(f"{MARKS[item.state]} {item.title}: {item.sentence}")
        if not found.running:
            return found
        if nobody:
            leave(AWAY, f"{process} is queued and nobody works: start `trueup up`, then run this again", as_json)
        time.sleep(POLL_SECONDS)


def _row(found: "Close") -> dict[str, Any]:
    """Return how a month stands, as JSON-plain values."""
    data: dict[str, Any] = flat(found)
    return data


def _print_items(data: dict[str, Any]) -> None:
    for item in data["items"]:
        say(f"{MARKS[item['state']]} {item['item']}: {item['sentence']}")


def _print_end(data: dict[str, Any]) -> None:
    place = f"{data['period']} of {data['legal_entity']}"
    if data["state"] == "closed":
        say(f"{place} is closed, revision {data['revision']}, by {data['closed_by']}")
        say(f"SHA-256 {data['sha256']}")
        differs: list[dict[str, Any]] = next(
            (one["variance"] for one in data["revisions"] if one["revision"] == data["revision"]), []
        )
        _print_differences("Differs from the revision before", differs)
        _print_differences("Came since; belongs to the next open month", data["since"])
        return
    if data["fault"]:
        say(f"{place} could not be closed: {data['fault']}. Run this again when the cause is removed.")
        return
    say(f"{place} is not closed. Accept what blocks it, or remove its cause, and close again:")
    for item in data["items"]:
        if item["state"] == "blocked":
            say(
                f'  trueup close {data["period"]} --entity {data["legal_entity"]} --accept {item["item"]} --reason "..."'
            )


def _print_differences(title: str, rows: list[dict[str, Any]]) -> None:
    if rows:
        columns = ["section", "row", "figure", "before#", "after#"]
        table(
            title, columns, [[one["section"], one["row"], one["figure"], one["before"], one["after"]] for one in rows]
        )


@close.command("list")
def list_closes(workspace: Workspace = None, as_json: Json = False) -> None:
    """List the months of all legal entities with state, revision and hash, and who asked to reopen what."""
    with acts(as_json):
        from trueup.kernel.clock import today
        from trueup.reporting import close as closes

        house = house_of(workspace)
        with house.database.transaction() as tx:
            found = closes.matrix(tx, tuple(house.firm.entities), today())

        def human(data: dict[str, Any]) -> None:
            rows = [
                [cell["period"], cell["legal_entity"], cell["state"], cell["revision"], (cell["sha256"] or "")[:12], cell["closed_by"]]
                for _, cells in data["rows"]
                for cell in cells
            ]  # fmt: skip
            table("Months", ["month", "entity", "state", "revision#", "hash", "closed by"], rows)
            for one in data["waiting"]:
                say(
                    f"{one['asked_by']} asks to reopen {one['period']} of {one['legal_entity']}: {one['reason']}; another "
                    f"person decides: trueup close approve {one['number']}"
                )

        show(found, as_json, human)


@close.command("reopen")
def reopen(
    period: Annotated[str, typer.Argument(help="A closed month, like 2026-10.")],
    reason: Annotated[str, typer.Option(help="Why it has to be reopened.")],
    entity: Entity = "",
    workspace: Workspace = None,
    as_json: Json = False,
) -> None:
    """Ask for a closed month to be reopened; another person has to approve it."""
    with acts(as_json):
        from trueup.store import periods

        house = house_of(workspace)
        code, by = _entity(house, entity), person(house)
        with house.database.transaction() as tx:
            number = periods.propose(tx, code, period, by, reason)
        data = {"number": number, "legal_entity": code, "period": period, "asked_by": by, "reason": reason}
        show(
            data, as_json, lambda made: say(f"proposal {number}; another person decides: trueup close approve {number}")
        )


@close.command("approve")
def approve(
    number: Annotated[int, typer.Argument(help="Number of the proposal.")],
    workspace: Workspace = None,
    as_json: Json = False,
) -> None:
    """Reopen the month of a proposal, as its second person; exit 6 when it is the same person."""
    with acts(as_json):
        from trueup.processes import period_close

        house = house_of(workspace)
        by = person(house)
        with house.database.transaction() as tx:
            done = period_close.reopen(tx, house, number, by)
        show(
            done,
            as_json,
            lambda data: say(f"{data['period']} of {data['legal_entity']} is open, revision {data['next_revision']}"),
        )


def numbers(
    workspace: Workspace = None,
    entity: Annotated[str, typer.Option(help="Legal entity; all when not given.")] = "",
    as_json: Json = False,
) -> None:
    """Show every series of document numbers with its gaps; exit 1 when a series of the hub's own has one."""
    with acts(as_json):
        from trueup.store import numbers as series

        house = house_of(workspace)
        with house.database.transaction() as tx:
            found = series.report(tx, _entity(house, entity) if entity else None)

        def human(rows: list[dict[str, Any]]) -> None:
            table(
                "Document numbers",
                ["numbered by", "entity", "type", "first", "last", "count#", "last day", "missing"],
                [
                    [
                        row["owner"], row["legal_entity"], row["document_type"], row["first"], row["last"], row["count"],
                        row["last_day"], ", ".join(map(str, row["missing"][:10])) or "none",
                    ]
                    for row in rows
                ],
            )  # fmt: skip
            say(
                "Of numbers the ERP gives, only documents that came from the hub or are credits to them are known here."
            )

        show([series.as_row(one) for one in found], as_json, human)
        if any(one.owner == "hub" and not one.whole for one in found):
            raise typer.Exit(DIFFERS)
