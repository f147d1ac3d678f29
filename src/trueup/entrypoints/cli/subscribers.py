"""`trueup subscriber`: who is told of business events, what waits, what was refused; pause, go on, send again."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from trueup.entrypoints.cli.output import DIFFERS, answers, house_of, leave, say, show, table

subscriber = typer.Typer(no_args_is_help=True, help="Those who are told of business events: state, pause, send again.")
Workspace = Annotated[Path | None, typer.Option("--workspace", "-w", help="The firm's workspace folder.")]
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]
Name = Annotated[str, typer.Argument(help="Name of the subscriber in trueup.yaml.")]


@subscriber.command("list")
def list_all(workspace: Workspace = None, as_json: Json = False) -> None:
    """Show every subscriber: address, state, events told, waiting and failed."""
    with answers(as_json):
        from trueup.reporting.subscribers import states

        house = house_of(workspace)
        with house.database.transaction() as tx:
            found = states(tx, house)

        def human(rows: list[dict[str, Any]]) -> None:
            if not rows:
                say("nobody is told of events; name them under `subscribers` in trueup.yaml")
                return
            table(
                "Subscribers",
                ["name", "url", "state", "told#", "waiting#", "failed#", "unread#", "why"],
                [
                    [r["subscription"], r["url"] or "in no file", r["state"], r["sent"], r["waiting"], r["failed"],
                     r["unread"], r["reason"] or ""]
                    for r in rows
                ],
            )  # fmt: skip

        show(found, as_json, human)


@subscriber.command()
def failed(name: Name, workspace: Workspace = None, as_json: Json = False) -> None:
    """Show events a subscriber refused until the last attempt; exit 1 when there are any."""
    with answers(as_json):
        from trueup.store import subscriptions

        house = house_of(workspace)
        with house.database.transaction() as tx:
            _known(subscriptions.listing(tx), name, as_json)
            found = subscriptions.sendings(tx, name, "failed", 1000)
        show(
            found,
            as_json,
            lambda rows: table(
                f"Refused by {name}",
                ["event#", "name", "about", "attempts#", "answer"],
                [[r["event"], r["name"], r["subject"], r["attempts"], r["detail"] or ""] for r in rows],
            ),
        )
        if found:
            raise typer.Exit(DIFFERS)


@subscriber.command()
def pause(
    name: Name,
    reason: Annotated[str, typer.Option(help="Why; shown to everybody who looks.")],
    workspace: Workspace = None,
    as_json: Json = False,
) -> None:
    """Stop telling a subscriber; events wait for it in the log."""
    _set(name, "paused", reason, workspace, as_json)


@subscriber.command()
def resume(name: Name, workspace: Workspace = None, as_json: Json = False) -> None:
    """Go on where the subscriber was."""
    _set(name, "active", "", workspace, as_json)


@subscriber.command()
def resend(
    name: Name,
    events: Annotated[list[int] | None, typer.Argument(help="Event numbers; none sends all that failed.")] = None,
    workspace: Workspace = None,
    as_json: Json = False,
) -> None:
    """Send events again under the same ids, so that the subscriber can tell what it has already."""
    with answers(as_json):
        from trueup.store import subscriptions

        house = house_of(workspace)
        with house.database.transaction() as tx:
            _known(subscriptions.listing(tx), name, as_json)
            count = subscriptions.resend(tx, name, events or None)
        show({"count": count}, as_json, lambda data: say(f"{data['count']} events go out again"))


def _set(name: str, state: Literal["active", "paused"], reason: str, workspace: Path | None, as_json: bool) -> None:
    with answers(as_json):
        from trueup.store import subscriptions

        house = house_of(workspace)
        with house.database.transaction() as tx:
            _known(subscriptions.listing(tx), name, as_json)
            subscriptions.set_state(tx, name, state, f"cli: {reason}" if reason else "")
        show({"subscription": name, "state": state}, as_json, lambda data: say(f"{name} is {state}"))


def _known(rows: list[dict[str, Any]], name: str, as_json: bool) -> None:
    if name not in {row["subscription"] for row in rows}:
        leave(DIFFERS, f"there is no subscriber {name}; they stand in trueup.yaml", as_json)
