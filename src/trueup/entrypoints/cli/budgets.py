"""`trueup budget`: what each vendor account allows, who uses it, and when its queue will be empty."""

from pathlib import Path
from typing import Annotated, Any

import typer

from trueup.entrypoints.cli.output import answers, house_of, show, table
from trueup.kernel.errors import Broken

budget = typer.Typer(help="Budgets of vendor accounts.", no_args_is_help=True)
Workspace = Annotated[Path | None, typer.Option("--workspace", "-w", help="The firm's workspace folder.")]
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]


@budget.callback()
def about() -> None:
    """What each vendor account allows, who uses it, and when its queue will be empty."""


@budget.command("show")
def show_budgets(
    account: Annotated[str, typer.Argument(help="Account; all when not given.")] = "",
    workspace: Workspace = None,
    as_json: Json = False,
) -> None:
    """Show calls used and left, by lane and legal entity, with a forecast."""
    with answers(as_json):
        from trueup.reporting.budgets import budgets

        house = house_of(workspace)
        accounts = house.accounts()
        if account and account not in accounts:
            raise Broken(f"there is no account {account}; there are {', '.join(sorted(accounts))}")
        with house.database.transaction() as tx:
            found = budgets(tx, {account: accounts[account]} if account else accounts)

        def human(rows: list[dict[str, Any]]) -> None:
            table(
                "Budgets",
                ["account", "state", "at once", "calls a second", "calls a minute now", "queue", "clears at"],
                [
                    [
                        r["account"],
                        r["state"],
                        f"{r['at_once']} of {r['slots']} (account: {r['concurrency']})",
                        f"{r['rate']:g} (account: {r['per_second']:g})",
                        f"{r['calls_minute']:g}",
                        r["queue"],
                        r["clears_at"] or "",
                    ]
                    for r in rows
                ],
            )
            table(
                "Who uses them",
                ["account", "lane", "legal entity", "calls in the last hour", "at once", "in line"],
                [
                    [r["account"], u["lane"], u["legal_entity"], u["calls_hour"], u["at_once"], u["waiting"]]
                    for r in rows
                    for u in r["users"]
                ],
            )

        show(found, as_json, human)


@budget.command("resume")
def resume(
    account: Annotated[str, typer.Argument(help="Account whose sign-in was stopped.")],
    workspace: Workspace = None,
    as_json: Json = False,
) -> None:
    """Let the hub sign in to an account again, after somebody has looked at its credentials."""
    with answers(as_json):
        from trueup.store import budgets

        house = house_of(workspace)
        if account not in house.accounts():
            raise Broken(f"there is no account {account}; there are {', '.join(sorted(house.accounts()))}")
        with house.database.transaction() as tx:
            resumed = budgets.resume_sign_in(tx, account)
        show({"account": account, "resumed": resumed}, as_json)
