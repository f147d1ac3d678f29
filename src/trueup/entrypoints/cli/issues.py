"""`trueup issue ...` and `trueup plan ...`: the error desk on the command line."""

import time
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trueup.entrypoints.cli.output import AWAY, DIFFERS, OK, USAGE, answers, house_of, leave, say, show, table

if TYPE_CHECKING:
    from trueup.store.plans import Verb

Workspace = Annotated[Path | None, typer.Option("--workspace", "-w", help="The firm's workspace folder.")]
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]
By = Annotated[str, typer.Option("--by", help="Your name; it is kept with the decision.")]
Reason = Annotated[str, typer.Option("--reason", help="Why, in five characters or more.")]
Issues = Annotated[list[str], typer.Argument(help="Issues, as `trueup issue list` names them.")]
Day = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S%z"])]

issue = typer.Typer(help="What failed, by its cause.", no_args_is_help=True)
plan = typer.Typer(help="Replays and retries: plan, look, then apply.", no_args_is_help=True)


def _amounts(amounts: dict[str, Any]) -> str:
    return ", ".join(f"{currency} {amount}" for currency, amount in amounts.items())


def _zoned(moment: datetime | None) -> datetime | None:
    from datetime import UTC

    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


@issue.command("list")
def listing(
    everything: Annotated[bool, typer.Option("--all", help="Muted and resolved ones as well.")] = False,
    workspace: Workspace = None,
    as_json: Json = False,
) -> None:
    """List causes of failure, the most money blocked first; exit code 1 when there are any."""
    with answers(as_json):
        from trueup.reporting import issues

        with house_of(workspace).database.transaction() as tx:
            found = issues.causes(tx, everything=everything)
        show(
            found,
            as_json,
            lambda rows: table(
                f"{len(rows)} issues",
                ["issue", "state", "system", "object", "cause", "records#", "blocked#", "for"],
                [
                    [r["issue"], r["state"], r["system"], r["object"], r["cause"], r["records"], _amounts(r["amounts"]), r["assignee"]]
                    for r in rows
                ],
            ),
        )  # fmt: skip
        raise typer.Exit(DIFFERS if found else OK)


@issue.command("show")
def one(
    name: Annotated[str, typer.Argument(metavar="ISSUE")], workspace: Workspace = None, as_json: Json = False
) -> None:
    """Show one cause with its records and its timeline."""
    with answers(as_json):
        from trueup.reporting import issues

        house = house_of(workspace)
        with house.database.transaction() as tx:
            found = issues.cause(tx, name, house.remedies())

        def human(data: dict[str, Any]) -> None:
            say(f"{data['system']} {data['object']}: {data['cause']} · {data['state']} · {data['records']} records")
            rows = [[r["record"], _amounts(r["amounts"]), r["since"], r["times"]] for r in data["failing"]]
            table("Records", ["record", "blocked#", "since", "times#"], rows)
            acts = [[a["created_at"], a["act"], a["by"], a["reason"]] for a in data["timeline"]]
            table("Timeline", ["when", "what", "by", "why"], acts)
            say(f"{data['remedy']['cause']}; ways out:")
            for way in data["remedy"]["ways"]:
                press = {
                    "replay": f"trueup plan replay --issue {name} --by NAME --reason WHY",
                    "retry": f"trueup plan retry --issue {name} --by NAME --reason WHY",
                    "edit": "trueup plan edit MESSAGE --set FIELD=VALUE --by NAME --reason WHY",
                    "itself": way["says"],
                }
                say(f"  {way['number']}. {way['label']} ({way['who']})\n     then: {press[way['then']]}")

        show(found, as_json, human)


def _told(as_json: bool, what: str, count: int) -> None:
    show({"count": count}, as_json, lambda data: say(f"{data['count']} issues {what}"))


@issue.command("assign")
def assign(
    names: Issues,
    to: Annotated[str, typer.Option("--to", help="Who works on them.")],
    by: By,
    workspace: Workspace = None,
    as_json: Json = False,
) -> None:
    """Give causes to somebody."""
    with answers(as_json):
        from trueup.store import issues

        with house_of(workspace).database.transaction() as tx:
            _told(as_json, f"are {to}'s", issues.assign(tx, names, to, by=by))


@issue.command("mute")
def mute(
    names: Issues,
    by: By,
    reason: Reason,
    until: Day = None,
    above: Annotated[str, typer.Option(help="Comes back when more is blocked, as 100000EUR.")] = "",
    workspace: Workspace = None,
    as_json: Json = False,
) -> None:
    """Take causes off the list until a moment or an amount; their records stay as they are."""
    with answers(as_json):
        from trueup.kernel.money import to_units
        from trueup.store import issues

        if above and not (above[-3:].isalpha() and above[:-3].strip().replace(".", "", 1).isdigit()):
            leave(USAGE, "write the amount with its currency, as 100000EUR", as_json)
        currency = above[-3:].upper()
        limit = (to_units(Decimal(above[:-3].strip()), currency), currency) if above else None
        with house_of(workspace).database.transaction() as tx:
            _told(as_json, "are muted", issues.mute(tx, names, by=by, reason=reason, until=_zoned(until), above=limit))


@issue.command("resolve")
def resolve(names: Issues, by: By, reason: Reason, workspace: Workspace = None, as_json: Json = False) -> None:
    """Say that causes are gone; one that fails again comes back by itself."""
    with answers(as_json):
        from trueup.store import issues

        with house_of(workspace).database.transaction() as tx:
            _told(as_json, "are resolved", issues.resolve(tx, names, by=by, reason=reason))


@issue.command("reopen")
def reopen(names: Issues, by: By, workspace: Workspace = None, as_json: Json = False) -> None:
    """Put muted or resolved causes back on the list."""
    with answers(as_json):
        from trueup.store import issues

        with house_of(workspace).database.transaction() as tx:
            _told(as_json, "are open", issues.reopen(tx, names, by=by))


@issue.command("balance")
def balance(workspace: Workspace = None, as_json: Json = False) -> None:
    """Show where everything received is; exit code 1 when a record is nowhere."""
    with answers(as_json):
        from trueup.store import issues

        with house_of(workspace).database.transaction() as tx:
            rows = issues.balance(tx)
        names = ["received", "applied", "superseded", "ignored", "failing", "in_flight", "missing"]
        show(
            rows,
            as_json,
            lambda data: table(
                "Messages", ["system", *(f"{name}#" for name in names)], [[r["system"], *(r[n] for n in names)] for r in data]
            ),
        )  # fmt: skip
        raise typer.Exit(DIFFERS if any(row["missing"] or row["failing"] != row["grouped"] for row in rows) else OK)


def _human(data: dict[str, Any]) -> None:
    counts = data["counts"]
    say(
        f"plan {data['number']} ({data['verb']}, {data['state']}): creates {counts.get('create', 0)}, "
        f"updates {counts.get('update', 0)}, settles {counts.get('settle', 0)}, no-ops {counts.get('no_op', 0)}, "
        f"blocked {counts.get('blocked', 0)}{'; money ' + _amounts(data['amounts']) if data['amounts'] else ''}"
    )
    for one in data["choice"].get("changes", ()):
        say(f"edits {one['field']}: {'taken out' if one['json'] is None else one['json']}")
    table("Records", ["record", "does", "because"], [[i["record"], i["does"], i["why"]] for i in data["items"]])
    if data["stopped_by"]:
        say(f"stopped: {data['stopped_by']}")
    if data["state"] == "proposed":
        why = "it edits what a system said" if data["verb"] == "edit" else "it moves money"
        who = f" (somebody else: {why})" if data["two_people"] else ""
        say(f"do it{who}: trueup plan apply {data['number']} --by NAME, before {data['expires_at']}")


def _propose(
    verb: "Verb", workspace: Path | None, as_json: bool, by: str, reason: str, choice: dict[str, Any]
) -> None:  # fmt: skip
    with answers(as_json):
        from trueup.processes import plans
        from trueup.store.plans import Choice

        if len(reason) < 5:
            leave(USAGE, "say why, in five characters or more", as_json)
        show(plans.propose(house_of(workspace), verb, Choice(**choice), by=by, reason=reason), as_json, _human)


Records = Annotated[list[str] | None, typer.Argument(help="Message numbers, or delivery keys.")]
Cause = Annotated[str | None, typer.Option("--issue", help="The records of a cause.")]
System = Annotated[str | None, typer.Option("--system", help="Records of a system.")]
Object = Annotated[str | None, typer.Option("--object", help="Records of a system's object.")]
Customer = Annotated[str | None, typer.Option("--customer", help="Records of a customer, by our identifier.")]


def _offer(verb: "Verb", words: str) -> None:
    """Offer the command that plans a verb: all plans choose their records alike."""

    @plan.command(verb, help=f"{words}; nothing is done.")
    def propose(
        by: By,
        reason: Reason,
        records: Records = None,
        cause: Cause = None,
        system: System = None,
        object_name: Object = None,
        since: Day = None,
        until: Day = None,
        customer: Customer = None,
        workspace: Workspace = None,
        as_json: Json = False,
    ) -> None:
        _propose(verb, workspace, as_json, by, reason, {
            "issue": cause, "records": tuple(records or ()), "system": system, "object": object_name,
            "since": _zoned(since), "until": _zoned(until), "customer": customer,
        })  # fmt: skip


_offer("replay", "Plan to judge messages again with today's mappings")
_offer("retry", "Plan to send refused or parked writes again under their keys")


@plan.command("edit")
def edit(
    message: int,
    by: By,
    reason: Reason,
    put: Annotated[
        list[str] | None, typer.Option("--set", help="FIELD=VALUE; the value as JSON, or as plain text.")
    ] = None,
    remove: Annotated[list[str] | None, typer.Option(help="A field to take out.")] = None,
    workspace: Workspace = None,
    as_json: Json = False,
) -> None:
    """Plan to correct fields of a message that failed; somebody else applies it, and the message stays as it came."""
    with answers(as_json):
        from trueup.store.plans import change

        pairs = [one.partition("=") for one in put or ()]
        if not all(between for _, between, _ in pairs):
            leave(USAGE, "write --set FIELD=VALUE", as_json)
        changes = [change(field, value or '""') for field, _, value in pairs] + [change(one) for one in remove or ()]
        _propose("edit", workspace, as_json, by, reason, {"records": (str(message),), "changes": tuple(changes)})


@plan.command("show")
def look(number: int, workspace: Workspace = None, as_json: Json = False) -> None:
    """Show a plan and how far it got."""
    with answers(as_json):
        from trueup.processes import plans

        with house_of(workspace).database.transaction() as tx:
            show(plans.look(tx, number), as_json, _human)


@plan.command("apply")
def apply(
    number: int,
    by: By,
    digest: Annotated[str | None, typer.Option(help="Of the plan you looked at; another one is refused.")] = None,
    wait: Annotated[bool, typer.Option(help="Stay until it has ended.")] = True,
    workspace: Workspace = None,
    as_json: Json = False,
) -> None:
    """Let workers do what a plan said, or stop at the first difference (exit code 1); goes on where it was cut off."""
    with answers(as_json):
        from trueup.processes import plans
        from trueup.store import executors

        house = house_of(workspace)
        found = plans.start(house, number, by=by, digest=digest)
        told = -1
        while wait and found["state"] == "applying":
            if found["done"] != told:
                told = found["done"]
                say(f"{told:,} of {found['acts_on']:,} records done")
            with house.database.transaction() as tx:
                if not executors.living(tx):
                    leave(AWAY, f"plan {number} is begun, and no worker lives: it goes on with `trueup up`", as_json)
                found = plans.look(tx, number)
            time.sleep(0.2)
        show(found, as_json, _human)
        raise typer.Exit(DIFFERS if found["state"] == "stopped" else OK)


@plan.command()
def cancel(number: int, by: By, reason: Reason, workspace: Workspace = None, as_json: Json = False) -> None:
    """Stop a plan that is being applied; what is done stays done."""
    with answers(as_json):
        from trueup.processes import plans

        show(plans.cancel(house_of(workspace), number, by=by, reason=reason), as_json, _human)
