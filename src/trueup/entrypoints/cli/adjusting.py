"""`trueup bill adjust`, `approve`, `rerate` ...: what people decide about bills, on the command line."""

from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer

from trueup.entrypoints.cli.output import USAGE, answers, house_of, leave, say, show, table

Workspace = Annotated[Path | None, typer.Option("--workspace", "-w", help="The firm's workspace folder.")]
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]
By = Annotated[str, typer.Option("--by", help="Your name; it is kept with the decision.")]
Reason = Annotated[str, typer.Option("--reason", help="Why, in five characters or more.")]


def adjust(
    kind: Annotated[str, typer.Argument(help="write-down, write-up, write-off, courtesy, postponed or non-billable.")],
    facts: Annotated[list[str], typer.Argument(help="Time entries and expense lines, by our identifier.")],
    by: By,
    reason: Reason,
    amount: Annotated[str, typer.Option(help="Write-downs and write-ups: by how much in all.")] = "",
    until: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Postponed: the day it ends.")] = None,
    workspace: Workspace = None,
    as_json: Json = False,
) -> None:
    """Propose to lower, raise, give up or put off a bill; a second person approves it."""
    with answers(as_json):
        from trueup.processes import adjustments

        named = {one.replace("_", "-"): one for one in adjustments.KINDS}
        if kind not in named:
            leave(USAGE, f"the kind is one of {', '.join(named)}", as_json)
        made = adjustments.propose(
            house_of(workspace),
            named[kind],
            facts,
            by=by,
            reason=reason,
            amount=Decimal(amount) if amount else None,
            until=until.date() if until else None,
        )
        show(made, as_json, lambda data: say(f"adjustment {data['number']} is {data['state']}"))


def approve(number: int, by: By, workspace: Workspace = None, as_json: Json = False) -> None:
    """Apply a proposal of somebody else."""
    with answers(as_json):
        from trueup.processes import adjustments

        state = adjustments.approve(house_of(workspace), number, by=by)
        show({"number": number, "state": state}, as_json, lambda data: say(f"adjustment {number} is {state}"))


def reject(number: int, by: By, workspace: Workspace = None, as_json: Json = False) -> None:
    """Turn a proposal down."""
    with answers(as_json):
        from trueup.processes import adjustments

        state = adjustments.reject(house_of(workspace), number, by=by)
        show({"number": number, "state": state}, as_json, lambda data: say(f"adjustment {number} is {state}"))


def undo(number: int, by: By, reason: Reason, workspace: Workspace = None, as_json: Json = False) -> None:
    """Take an applied decision back: what it moved is open again."""
    with answers(as_json):
        from trueup.processes import adjustments

        state = adjustments.undo(house_of(workspace), number, by=by, reason=reason)
        show({"number": number, "state": state}, as_json, lambda data: say(f"adjustment {number} is {state}"))


def listing(
    state: Annotated[str, typer.Option(help="proposed, applied, rejected or undone; all when not given.")] = "",
    workspace: Workspace = None,
    as_json: Json = False,
) -> None:
    """List what people decided about bills, the newest first."""
    with answers(as_json):
        from trueup.store import adjustments

        with house_of(workspace).database.transaction() as tx:
            found = adjustments.listed(tx, state or None)

        def human(rows: list[dict[str, Any]]) -> None:
            table(
                "Adjustments",
                ["number#", "kind", "state", "facts#", "reason", "proposed by", "decided by"],
                [
                    [r["number"], r["kind"], r["state"], r["facts"], r["reason"], r["proposed_by"], r["approved_by"]]
                    for r in rows
                ],
            )

        show(found, as_json, human)


def credit(
    invoice: Annotated[str, typer.Argument(help="The invoice, by code, number or our identifier.")],
    entry: Annotated[
        list[str] | None,
        typer.Option(help="A time entry or expense to credit, ENTRY or ENTRY:MINUTES; may be given several times."),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Bill the work again; else it is given up.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the credit; do nothing.")] = False,
    by: Annotated[str, typer.Option("--by", help="Your name; needed without --dry-run.")] = "",
    reason: Annotated[str, typer.Option("--reason", help="Why; needed without --dry-run.")] = "",
    workspace: Workspace = None,
    as_json: Json = False,
) -> None:
    """Credit a posted invoice, or some of its entries: given up, or open to be billed again."""
    with answers(as_json):
        from trueup.processes import corrections
        from trueup.reporting.explain import find_invoice

        if not dry_run and (not by or len(reason.strip()) < 5):
            leave(USAGE, "--by and --reason (five characters or more) are needed unless --dry-run", as_json)
        facts: dict[str, int | None] = {}
        for one in entry or ():
            fact, _, minutes = one.partition(":")
            if minutes and not minutes.isdigit():
                leave(USAGE, f"{one}: minutes are a whole number", as_json)
            facts[fact] = int(minutes) if minutes else None
        house = house_of(workspace)
        with house.database.transaction() as tx:
            gid = find_invoice(tx, invoice)
        if gid is None:
            leave(USAGE, f"there is no invoice {invoice}", as_json)
        shown = corrections.preview(house, gid, facts or None)
        if not dry_run:
            made = corrections.give(house, gid, by=by, reason=reason, facts=facts or None, again=again)
            shown["credit"] = made

        def human(data: dict[str, Any]) -> None:
            table(
                f"Credit of {data['invoice']}",
                ["line", "quantity#", "net#"],
                [[line["description"], line["quantity"], line["net"]] for line in data["lines"]],
            )
            say(f"net {data['net']}, tax {data['tax']}, gross {data['gross']} {data['currency']}")
            say(f"made: {data['credit']}" if "credit" in data else "nothing was done: leave --dry-run out to credit")

        show(shown, as_json, human)


def rerate(
    since: Annotated[datetime, typer.Option("--from", formats=["%Y-%m-%d"], help="First service date to look at.")],
    contract: Annotated[str, typer.Option(help="Code of one contract; all when not given.")] = "",
    policy: Annotated[str, typer.Option(help="delta_next, credit_partial or credit_full_rebill.")] = "delta_next",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show old, new and difference; do nothing.")] = False,
    by: Annotated[str, typer.Option("--by", help="Your name; needed without --dry-run.")] = "",
    reason: Annotated[str, typer.Option("--reason", help="Why; needed without --dry-run.")] = "",
    workspace: Workspace = None,
    as_json: Json = False,
) -> None:
    """Find billed entries that a changed rate prices anew, and propose the differences."""
    with answers(as_json):
        from trueup.processes import rerating

        known = {one: one for one in rerating.POLICIES}
        if policy not in known or (not dry_run and (not by or len(reason) < 5)):
            leave(USAGE, f"a policy ({', '.join(known)}), and --by and --reason unless --dry-run, are needed", as_json)
        house, day = house_of(workspace), since.date()
        if dry_run:
            found = rerating.preview(house, day, contract or None, known[policy])
        else:
            found = rerating.propose(house, day, contract or None, known[policy], by=by, reason=reason)

        def human(data: dict[str, Any]) -> None:
            table(
                "Re-rating",
                ["invoice", "old#", "new#", "difference#", "currency", "becomes"],
                [
                    [i["invoice"], i["old"], i["new"], i["difference"], i["currency"], i["document"]]
                    for i in data["invoices"]
                ],
            )
            for currency, total in data["totals"].items():
                say(f"{currency}: {total['old']} becomes {total['new']}, difference {total['difference']}")
            for number in data.get("adjustments", []):
                say(f"proposed: a second person says trueup bill approve {number} --by NAME")

        show(found, as_json, human)


def add(bill: typer.Typer) -> None:
    """Register the commands under `trueup bill`."""
    bill.command("adjust")(adjust)
    bill.command("approve")(approve)
    bill.command("reject")(reject)
    bill.command("undo")(undo)
    bill.command("adjustments")(listing)
    bill.command("credit")(credit)
    bill.command("rerate")(rerate)
