"""`trueup reconcile`, `trueup break`, `trueup sign-off`, `trueup watch`: do the systems agree, and does work progress."""

import os
import pwd
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trueup.entrypoints.cli.output import DIFFERS, OK, acts, answers, flat, house_of, say, show, table
from trueup.kernel.errors import Held

if TYPE_CHECKING:
    pass

Workspace = Annotated[Path | None, typer.Option("--workspace", "-w", help="The firm's workspace folder.")]
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]
By = Annotated[str, typer.Option("--by", help="Your name; the operating system's user when left out.")]
Reason = Annotated[str, typer.Option("--reason", help="Why, in five characters or more.")]
Entity = Annotated[str, typer.Option(help="Legal entity.")]
Period = Annotated[str, typer.Argument(help="Month, as 2026-10.")]
breaks = typer.Typer(
    help="Differences between systems: who looks, why they stay, what ends them.", no_args_is_help=True
)
sign_off = typer.Typer(help="Sign a month's agreement off: one person prepares, another signs.", no_args_is_help=True)


def _who(by: str) -> str:
    return by or pwd.getpwuid(os.getuid()).pw_name


def reconcile(
    changes: Annotated[bool, typer.Option("--changes", help="Read only what changed since the last one.")] = False,
    entity: Annotated[str, typer.Option(help="Show only this legal entity.")] = "",
    period: Annotated[str, typer.Option(help="Show only this month, as 2026-10.")] = "",
    workspace: Workspace = None,
    as_json: Json = False,
) -> None:
    """Compare every system with the hub and name each break; exit 1 when one is open that nobody accepted."""
    with answers(as_json):
        from trueup.kernel.clock import now
        from trueup.pipeline import reconcile as tie
        from trueup.reporting import compare
        from trueup.reporting.compare import Filter

        house = house_of(workspace)
        say("reading what changed in every system" if changes else "reading every system whole")
        done = tie.tie_out(house, f"cli/{now():%Y-%m-%dT%H:%M:%SZ}", whole=not changes)
        with house.database.transaction() as tx:
            found = compare.breaks(tx, limit=10_000, chosen=Filter(entity, period))
            sums = compare.tie_outs(tx, chosen=Filter(entity, period))
        data = {**{name: value for name, value in done.items() if name != "breaks"}, "sums": sums, "breaks": found}
        waiting = [one for one in found if one.accepted_by is None]

        def human(shown: dict[str, Any]) -> None:
            table(
                f"{shown['compared']:,} records compared, {shown['read']:,} read, {len(waiting)} breaks to look at",
                ["number#", "class", "object", "system", "worth#", "open since", "who", "what"],
                [_break_row(one) for one in shown["breaks"]],
            )
            say("next: trueup break show NUMBER · trueup sign-off prepare MONTH --entity CODE")

        show(data, as_json, human)
        raise typer.Exit(DIFFERS if waiting else OK)


def _break_row(one: dict[str, Any]) -> list[Any]:
    worth = one["amount"] and f"{one['amount']['amount']} {one['amount']['currency']}"
    who = f"accepted by {one['accepted_by']}" if one["accepted_by"] else one["assignee"]
    return [
        one["number"],
        one["class"],
        one["object"],
        one["system"],
        worth,
        one["opened_at"][:10],
        who,
        one["sentence"],
    ]


@breaks.command("list")
def listing(
    entity: Annotated[str, typer.Option(help="Legal entity.")] = "",
    period: Annotated[str, typer.Option(help="Month, as 2026-10.")] = "",
    cls: Annotated[str, typer.Option("--class", help="Class, as amount or missing_in_target.")] = "",
    system: Annotated[str, typer.Option(help="System.")] = "",
    workspace: Workspace = None,
    as_json: Json = False,
) -> None:
    """List open breaks as the last tie-out left them, the most money first."""
    with answers(as_json):
        from trueup.reporting import compare
        from trueup.reporting.compare import Filter

        with house_of(workspace).database.transaction() as tx:
            found = compare.breaks(tx, limit=10_000, chosen=Filter(entity, period, cls, system))
        columns = ["number#", "class", "object", "system", "worth#", "open since", "who", "what"]
        show(found, as_json, lambda rows: table("Open breaks", columns, [_break_row(one) for one in rows]))


@breaks.command("show")
def one(number: int, workspace: Workspace = None, as_json: Json = False) -> None:
    """Show a break, its history, and what would end it; nothing is done."""
    with acts(as_json):
        from trueup.processes import repairs
        from trueup.reporting import compare
        from trueup.store import tie_outs

        house = house_of(workspace)
        with house.database.transaction() as tx:
            found = compare.one_break(tx, number)
            if found is None:
                raise Held(f"there is no break {number}", "NO_SUCH_BREAK")
            plan = None if found.closed_at else repairs.repair(tx, house, number)
            data = {"break": found, "notes": tie_outs.notes(tx, number), "repair": plan}
        show(data, as_json, _say_break)


def _say_break(shown: dict[str, Any]) -> None:
    say(f"{shown['break']['title']}: {shown['break']['sentence']}")
    for note in shown["notes"]:
        say(f"  {note['created_at'][:16]} {note['act'].replace('_', ' ')} by {note['person']}: {note['words']}")
    if shown["repair"] is None:
        say("ended: both sides are the same again")
        return
    for action in shown["repair"]["actions"]:
        say(f"would: {action['sentence']}")
        if action["field"]:
            after = action["after"] or "as the rules judge it"
            say(f"  {action['field']}: hub {action['ours']}, system {action['theirs']}, both after: {after}")
    if any(action["does"] in ("take_in", "judge_again", "send") for action in shown["repair"]["actions"]):
        say(f"do it: trueup break repair {shown['break']['number']} --digest {shown['repair']['digest'][:16]}")


@breaks.command()
def repair(
    number: int,
    digest: Annotated[str, typer.Option(help="Digest of the repair that was shown, or its first 16 characters.")],
    by: By = "",
    workspace: Workspace = None,
    as_json: Json = False,
) -> None:
    """Do the repair that `trueup break show` showed, or stop when it is another one now."""
    with acts(as_json):
        from trueup.processes import repairs

        house = house_of(workspace)
        with house.database.transaction() as tx:
            plan = repairs.repair(tx, house, number)
        whole = plan.digest if len(digest) >= 16 and plan.digest.startswith(digest) else digest
        done = repairs.apply(house, number, whole, _who(by))
        show(done, as_json, lambda data: say(f"break {number}: {data['done'].replace('_', ' ')} is under way"))


@breaks.command()
def assign(
    number: int,
    to: Annotated[str, typer.Option(help="Who looks into it; empty for nobody.")],
    by: By = "",
    workspace: Workspace = None,
    as_json: Json = False,
) -> None:
    """Give a break to somebody."""
    with acts(as_json):
        from trueup.processes import reconciliation

        with house_of(workspace).database.transaction() as tx:
            reconciliation.assign(tx, number, to, _who(by))
        show({"number": number, "assignee": to or None}, as_json, lambda data: say(f"{number} is {to or 'nobody'}'s"))


@breaks.command()
def note(
    number: int,
    words: Annotated[str, typer.Argument(help="What you found out.")],
    by: By = "",
    workspace: Workspace = None,
    as_json: Json = False,
) -> None:
    """Keep a note with a break."""
    with acts(as_json):
        from trueup.processes import reconciliation

        with house_of(workspace).database.transaction() as tx:
            reconciliation.note(tx, number, _who(by), words)
        show({"number": number, "noted": words}, as_json, lambda data: say("kept"))


@breaks.command()
def accept(number: int, reason: Reason, by: By = "", workspace: Workspace = None, as_json: Json = False) -> None:
    """Accept a difference as it is; the acceptance ends when it becomes another one."""
    with acts(as_json):
        from trueup.processes import reconciliation

        with house_of(workspace).database.transaction() as tx:
            reconciliation.accept(tx, number, _who(by), reason)
        show({"number": number, "accepted_by": _who(by)}, as_json, lambda data: say(f"break {number} is accepted"))


@sign_off.command("list")
def months(workspace: Workspace = None, as_json: Json = False) -> None:
    """List the compared months with their breaks and signatures."""
    with answers(as_json):
        from trueup.reporting import compare

        with house_of(workspace).database.transaction() as tx:
            found = compare.months(tx)
        show(
            found,
            as_json,
            lambda rows: table(
                "Months",
                ["month", "entity", "state", "compared#", "open#", "accepted#", "prepared by", "signed by"],
                [
                    [row["period"], row["legal_entity"], row["state"], row["records"], row["waiting"], row["accepted"],
                     row["prepared_by"], row["signed_by"]]
                    for row in rows
                ],
            ),
        )  # fmt: skip


@sign_off.command()
def prepare(period: Period, entity: Entity, by: By = "", workspace: Workspace = None, as_json: Json = False) -> None:
    """Lay a month's last tie-out before a second person."""
    with acts(as_json):
        from trueup.processes import reconciliation

        with house_of(workspace).database.transaction() as tx:
            made = reconciliation.prepare(tx, entity, period, _who(by))
        show(dict(made), as_json, lambda data: say(f"{period} of {entity} is prepared; another person signs it"))


@sign_off.command()
def sign(period: Period, entity: Entity, by: By = "", workspace: Workspace = None, as_json: Json = False) -> None:
    """Sign what another person prepared."""
    with acts(as_json):
        from trueup.processes import reconciliation

        with house_of(workspace).database.transaction() as tx:
            made = reconciliation.sign(tx, entity, period, _who(by))
        show(dict(made), as_json, lambda data: say(f"{period} of {entity} is signed off: {data['digest']}"))


@sign_off.command()
def reopen(
    period: Period, entity: Entity, reason: Reason, by: By = "", workspace: Workspace = None, as_json: Json = False
) -> None:
    """Take a month's sign-off back; what was signed is kept."""
    with acts(as_json):
        from trueup.processes import reconciliation

        with house_of(workspace).database.transaction() as tx:
            made = reconciliation.reopen(tx, entity, period, _who(by), reason)
        show(dict(made), as_json, lambda data: say(f"{period} of {entity} is open again"))


def watch(
    seconds: Annotated[float, typer.Option(help="Name what stands still for so long; each kind's own when 0.")] = 0,
    workspace: Workspace = None,
    as_json: Json = False,
) -> None:
    """Name whatever does not progress; exit 1 when there is anything."""
    with answers(as_json):
        from trueup.reporting import watchdog

        with house_of(workspace).database.transaction() as tx:
            limits = dict.fromkeys(watchdog.LIMITS, seconds) if seconds else watchdog.LIMITS
            found = flat(watchdog.stalled(tx, limits))
        show(found, as_json, say_stalled)
        raise typer.Exit(DIFFERS if found else OK)


def say_stalled(found: list[dict[str, Any]]) -> None:
    """Print what does not progress, or that everything does."""
    if not found:
        say("everything progresses")
        return
    table(
        "Does not progress",
        ["what", "name", "since", "sentence", "what to do"],
        [[one["kind"], one["key"], one["since"][:19], one["sentence"], one["advice"]] for one in found],
    )
